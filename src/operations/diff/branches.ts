import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import type { Difference, Direction } from "./keywords.ts";
import { isNote, nameIn } from "./references.ts";
import type { InnerPair } from "./schemas-in.ts";

/** How the schemas of `allOf`, `anyOf` and `oneOf` belong together. */
export interface Branches {
  /** Whether both schemas are a choice between these and nothing else, so that there is nothing else to compare. */
  readonly isAll: boolean;
  readonly pairs: readonly InnerPair[];
  /** Those that only one has. */
  readonly differences: readonly Difference[];
}

/** Matches the branches of both schemas. One that becomes nullable is a choice that it was not before. */
export function matchBranches(before: JsonObject, after: JsonObject, direction: Direction): Branches {
  const [was, is] = [choicesOf(before), choicesOf(after)];
  if (was !== undefined || is !== undefined) {
    return { isAll: true, ...matched(was ?? [before], is ?? [after], direction, choice) };
  }
  const each = (["allOf", "anyOf", "oneOf"] as const).flatMap((name) => {
    const [those, these] = [listOf(before[name]), listOf(after[name])];
    if (those.length === 0 && these.length === 0) return [];
    // No choice leaves everything open; only beside another choice is one more of them.
    const isRule = name === "allOf" || those.length === 0 || these.length === 0;
    return [matched(those, these, direction, isRule ? rule : choice)];
  });
  return {
    isAll: false,
    pairs: each.flatMap(({ pairs }) => pairs),
    differences: each.flatMap(({ differences }) => differences),
  };
}

/** The branches of a schema that is nothing but a choice between them. */
function choicesOf(schema: JsonObject): readonly JsonValue[] | undefined {
  const rules = Object.keys(schema).filter((keyword) => !isNote(keyword));
  const [only] = rules;
  if (rules.length !== 1 || (only !== "anyOf" && only !== "oneOf")) return undefined;
  const list = listOf(schema[only]);
  return list.length > 0 ? list : undefined;
}

type Say = (branch: JsonValue, isNew: boolean, direction: Direction) => Difference;

const choice: Say = (branch, isNew, direction) => ({
  step: "",
  text: isNew ? `may be ${shown(branch)} now` : `may no longer be ${shown(branch)}`,
  breaking: direction === "exact" || isNew === (direction === "output"),
});

const rule: Say = (branch, isNew, direction) => ({
  step: "",
  text: isNew ? `has to be ${shown(branch)} as well now` : `need not be ${shown(branch)} any more`,
  breaking: direction === "exact" || isNew === (direction === "input"),
});

/** First those of the same name, then those of the same kind, then as they come; null only goes with null. */
function matched(
  before: readonly JsonValue[],
  after: readonly JsonValue[],
  direction: Direction,
  say: Say,
): Omit<Branches, "isAll"> {
  const pairs: InnerPair[] = [];
  let [was, is] = [before, after];
  for (const key of [
    nameOf,
    kindOf,
    (branch: JsonValue) => (kindOf(branch) === "null" ? undefined : "any"),
  ]) {
    const byKey = grouped(is, key);
    const taken = new Set<JsonValue>();
    was = was.filter((branch) => {
      const name = key(branch);
      const other = name === undefined ? undefined : byKey.get(name)?.pop();
      if (other === undefined) return true;
      taken.add(other);
      pairs.push({ step: "", before: branch, after: other, direction });
      return false;
    });
    is = is.filter((branch) => !taken.has(branch));
  }
  const differences = [
    ...was.map((branch) => say(branch, false, direction)),
    ...is.map((branch) => say(branch, true, direction)),
  ];
  return { pairs, differences };
}

/** The first of each group comes last, where it is taken from. */
function grouped(branches: readonly JsonValue[], key: (branch: JsonValue) => string | undefined) {
  const groups = new Map<string, JsonValue[]>();
  for (const branch of branches.toReversed()) {
    const name = key(branch);
    if (name === undefined) continue;
    const group = groups.get(name) ?? [];
    groups.set(name, group);
    group.push(branch);
  }
  return groups;
}

function nameOf(branch: JsonValue): string | undefined {
  const reference = isObject(branch) ? branch["$ref"] : undefined;
  return typeof reference === "string" ? nameIn(reference) : undefined;
}

/** What tells branches apart that have no name. */
function kindOf(branch: JsonValue): string | undefined {
  if (!isObject(branch) || "$ref" in branch) return undefined;
  const { type, title, format } = branch;
  if (type === "null") return "null";
  return type === undefined && title === undefined ? undefined : JSON.stringify([type, title, format]);
}

function shown(branch: JsonValue): string {
  const { title, type } = membersOf(branch);
  const name = nameOf(branch) ?? (typeof title === "string" ? title : undefined);
  return name?.slice(0, 60) ?? (typeof type === "string" ? type : "something else");
}

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : [];
}
