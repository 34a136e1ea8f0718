import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { measured, type Definition } from "./definitions.ts";
import type { Problems } from "./problems.ts";

/** Definitions without those references by which a value would be checked against the same schema without end. */
export function withoutCircles(
  definitions: ReadonlyMap<string, Definition>,
  problems: Problems,
): ReadonlyMap<string, Definition> {
  const cut = new Map(definitions);
  for (const { from, to } of closingSteps(definitions)) {
    const definition = cut.get(from);
    if (definition === undefined) continue;
    const pointer = definition.needs.sameValue.get(to) ?? "";
    problems.add(pointer, "leads back to itself without a member or an item in between, so it is left out");
    const schema = withoutRef(definition.schema, `#/$defs/${to}`);
    cut.set(from, { ...definition, schema, ...measured(from, schema) });
  }
  return cut;
}

interface Step {
  readonly from: string;
  readonly to: string;
}

/** Depth first, with a stack of its own: a chain may be longer than the stack of calls is deep. */
function closingSteps(definitions: ReadonlyMap<string, Definition>): Step[] {
  const found: Step[] = [];
  const done = new Set<string>();
  for (const start of definitions.keys()) {
    const path = [{ name: start, next: stepsFrom(start, definitions) }];
    const onPath = new Set([start]);
    for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
      const to = here.next.next().value;
      if (to === undefined) {
        done.add(here.name);
        onPath.delete(here.name);
        path.pop();
      } else if (onPath.has(to)) {
        found.push({ from: here.name, to });
      } else if (!done.has(to)) {
        path.push({ name: to, next: stepsFrom(to, definitions) });
        onPath.add(to);
      }
    }
  }
  return found;
}

function stepsFrom(name: string, definitions: ReadonlyMap<string, Definition>): Iterator<string, undefined> {
  return (definitions.get(name)?.needs.sameValue.keys() ?? [].values()) as Iterator<string, undefined>;
}

const inSameValue = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];

function withoutRef(schema: JsonObject, ref: string): JsonObject {
  const kept = Object.entries(schema).filter(([keyword, value]) => keyword !== "$ref" || value !== ref);
  return Object.fromEntries(
    kept.map(([keyword, value]) => {
      if (inSameValue.includes(keyword)) return [keyword, eachWithout(value, ref)];
      if (keyword !== "dependentSchemas" || !isObject(value)) return [keyword, value];
      return [
        keyword,
        Object.fromEntries(Object.entries(value).map(([name, one]) => [name, eachWithout(one, ref)])),
      ];
    }),
  );
}

function eachWithout(value: JsonValue, ref: string): JsonValue {
  if (Array.isArray(value)) return value.map((item) => eachWithout(item, ref));
  return isObject(value) ? withoutRef(value, ref) : value;
}
