import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";

/**
 * Which way a value goes, and so which change hurts: of an `input`, what is no longer taken; of an `output`, what may be
 * missing from it. `exact` is for rules that are turned around in others, as by `not`: any change may hurt.
 */
export type Direction = "input" | "output" | "exact";

/** One thing that differs between two schemas. */
export interface Difference {
  /** The member that it is about; empty for what the schemas are about themselves. */
  readonly step: string;
  /** Goes on behind a name: `is required now`. */
  readonly text: string;
  readonly breaking: boolean;
}

/** How what two schemas say by a keyword differs; undefined for one that a schema does not have. */
type Compare = (
  was: JsonValue | undefined,
  is: JsonValue | undefined,
  context: {
    readonly name: string;
    readonly direction: Direction;
    readonly before: JsonObject;
    readonly after: JsonObject;
  },
) => readonly Difference[];

const comparisons: ReadonlyMap<string, Compare> = new Map<string, Compare>([
  ["type", types],
  ...each(["enum", "const"], values),
  ...each(["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"], bound(1)),
  ...each(
    ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"],
    bound(-1),
  ),
  ...each(["format", "contentEncoding", "contentMediaType"], plain({ isRead: true })),
  ...each(["pattern", "multipleOf", "uniqueItems", "dependentRequired"], plain({ isRead: false })),
  ...each(["contains", "propertyNames", "not", "if", "then", "else"], presence),
  ["properties", properties],
  ["required", required],
  ...each(["default", "deprecated", "readOnly", "writeOnly"], note),
]);

function each(names: readonly string[], compare: Compare): [string, Compare][] {
  return names.map((name) => [name, compare]);
}

/** How what the schemas say by themselves differs, without those within them. References are followed already. */
export function differencesOf(before: JsonObject, after: JsonObject, direction: Direction): Difference[] {
  const differences: Difference[] = [];
  const compare = (name: string) => {
    const found = comparisons.get(name)?.(before[name], after[name], { name, direction, before, after });
    if (found !== undefined && found.length > 0) differences.push(...found);
  };
  for (const name of Object.keys(before)) compare(name);
  for (const name of Object.keys(after)) if (!(name in before)) compare(name);
  return differences;
}

const none: readonly Difference[] = [];

function here(text: string, breaking: boolean): readonly Difference[] {
  return [{ step: "", text, breaking }];
}

function types(...[was, is, { direction }]: Parameters<Compare>): readonly Difference[] {
  if (was === is) return none;
  const [those, these] = [typesIn(was), typesIn(is)];
  const isNarrower = !covers(these, those);
  const isWider = !covers(those, these);
  if (!isNarrower && !isWider) return none;
  const breaking = direction === "exact" || (direction === "input" ? isNarrower : isWider);
  return here(`is ${typeNames(these)} now, and was ${typeNames(those)}`, breaking);
}

/** Undefined for all of them. */
function typesIn(type: JsonValue | undefined): readonly string[] | undefined {
  return typeof type === "string" ? [type] : Array.isArray(type) ? textsIn(type).toSorted() : undefined;
}

function covers(wider: readonly string[] | undefined, narrower: readonly string[] | undefined): boolean {
  if (wider === undefined) return true;
  const has = (type: string) => wider.includes(type) || (type === "integer" && wider.includes("number"));
  return narrower?.every(has) === true;
}

function typeNames(types: readonly string[] | undefined): string {
  return types?.slice(0, 7).join(" or ") ?? "anything";
}

/** A further value of an answer lacks nothing, so that does not hurt. */
function values(...[, , { name, direction, before, after }]: Parameters<Compare>): readonly Difference[] {
  // Both say the same, so one of them is compared.
  if (name === "enum" && ("const" in before || "const" in after)) return none;
  const [those, these] = [valuesOf(before), valuesOf(after)];
  if (these === undefined)
    return those === undefined ? none : here("may have any value now", direction === "exact");
  if (those === undefined) return here(`has to be ${shown([...these])} now`, direction !== "output");
  const gone = [...those].filter((value) => !these.has(value));
  const added = [...these].filter((value) => !those.has(value));
  return [
    ...(gone.length === 0 ? none : here(`may no longer be ${shown(gone)}`, direction !== "output")),
    ...(added.length === 0 ? none : here(`may be ${shown(added)} now`, direction === "exact")),
  ];
}

function valuesOf(schema: JsonObject): Set<string> | undefined {
  const { const: only, enum: list } = schema;
  if (only !== undefined) return new Set([JSON.stringify(only)]);
  return Array.isArray(list) ? new Set(list.map((value) => JSON.stringify(value))) : undefined;
}

/** `sign` is 1 where a greater one allows less. */
function bound(sign: 1 | -1): Compare {
  return (was, is, { name, direction }) => {
    if (was === is) return none;
    const isTighter = typeof is === "number" && (typeof was !== "number" || sign * is > sign * was);
    return here(changed(name, was, is), direction === "exact" || (direction === "input" && isTighter));
  };
}

/** Who reads an answer has to know how its values are written, as by `format`. */
function plain({ isRead }: { readonly isRead: boolean }): Compare {
  return (was, is, { name, direction }) => {
    if (was === is || JSON.stringify(was) === JSON.stringify(is)) return none;
    const isRule = is !== undefined && is !== false;
    const isLost = isRead && was !== undefined;
    return here(changed(name, was, is), direction === "exact" || (direction === "input" ? isRule : isLost));
  };
}

/** Where both have the rule, its schemas are compared by themselves. */
function presence(...[was, is, { name, direction }]: Parameters<Compare>): readonly Difference[] {
  if (was === undefined) return here(`has a rule by "${name}" now`, direction !== "output");
  return is === undefined ? here(`has no rule by "${name}" any more`, direction === "exact") : none;
}

function properties(...[was, is, { direction, after }]: Parameters<Compare>): readonly Difference[] {
  const [those, these] = [isObject(was) ? was : {}, isObject(is) ? is : {}];
  const differences: Difference[] = [];
  for (const step of Object.keys(those)) {
    if (!Object.hasOwn(these, step)) differences.push({ step, text: "is gone", breaking: true });
  }
  const fresh = Object.keys(these).filter((step) => !Object.hasOwn(those, step));
  if (fresh.length === 0) return differences;
  const needed = new Set(textsIn(after["required"]));
  for (const step of fresh) {
    // Of one that is required, that says it.
    if (!needed.has(step)) differences.push({ step, text: "is new", breaking: direction === "exact" });
  }
  return differences;
}

function required(...[was, is, { direction, before, after }]: Parameters<Compare>): readonly Difference[] {
  const [those, these] = [new Set(textsIn(was)), new Set(textsIn(is))];
  const isGone = (step: string) => isMember(before, step) && !isMember(after, step);
  const isNew = (step: string) => !isMember(before, step) && isMember(after, step);
  const [always, never] =
    direction === "output" ? ["always there", "may be absent now"] : ["required", "is optional now"];
  const differences: Difference[] = [];
  for (const step of these) {
    if (those.has(step)) continue;
    differences.push({ step, text: isNew(step) ? `is new and ${always}` : `is ${always} now`, breaking: direction !== "output" }); // prettier-ignore
  }
  for (const step of those) {
    if (!these.has(step) && !isGone(step))
      differences.push({ step, text: never, breaking: direction !== "input" });
  }
  return differences;
}

function isMember({ properties: members }: JsonObject, name: string): boolean {
  return isObject(members) && Object.hasOwn(members, name);
}

function note(...[was, is, { name }]: Parameters<Compare>): readonly Difference[] {
  return was === is || JSON.stringify(was) === JSON.stringify(is)
    ? none
    : here(changed(name, was, is), false);
}

function textsIn(value: JsonValue | undefined): string[] {
  const items: readonly JsonValue[] = Array.isArray(value) ? value : [];
  return items.filter((item) => typeof item === "string");
}

const most = 5;

function changed(name: string, was: JsonValue | undefined, is: JsonValue | undefined): string {
  const text = (value: JsonValue | undefined) =>
    value === undefined ? "none" : shown([JSON.stringify(value)]);
  return `has the ${name} ${text(is)} now, and had ${text(was)}`;
}

function shown(all: readonly string[]): string {
  const some = all.slice(0, most).map((value) => (value.length > 60 ? `${value.slice(0, 60)}…` : value));
  return some.join(", ") + (all.length > most ? ` and ${all.length - most} more` : "");
}
