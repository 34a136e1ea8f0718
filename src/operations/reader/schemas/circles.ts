import type { JsonObject } from "@bufbuild/protobuf";
import { measured, type Definition } from "./definitions.ts";
import type { Problems } from "../problems.ts";
import { withEach } from "./within.ts";

/** Definitions without those references by which a value would be checked against the same schema without end. */
export function withoutCircles(
  definitions: ReadonlyMap<string, Definition>,
  problems: Problems,
): ReadonlyMap<string, Definition> {
  const cut = new Map(definitions);
  for (const [name, targets] of closingSteps(definitions)) {
    const definition = cut.get(name);
    if (definition === undefined) continue;
    for (const target of targets) {
      const pointer = definition.needs.sameValue.get(target) ?? "";
      problems.add(pointer, "leads back to itself without a member or an item in between, so it is left out");
    }
    const schema = withoutRefs(definition.schema, new Set(targets.map((target) => `#/$defs/${target}`)));
    cut.set(name, {
      ...{ schema, needs: { ...definition.needs, isWider: true } },
      ...measured(name, schema),
    });
  }
  return cut;
}

/** By name, the definitions that close a circle there. Depth first, with a stack of its own: a chain may be longer than the stack of calls is deep. */
function closingSteps(definitions: ReadonlyMap<string, Definition>): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const done = new Set<string>();
  for (const start of definitions.keys()) {
    const path = [{ name: start, next: stepsFrom(start, definitions) }];
    const onPath = new Set([start]);
    for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
      const { value: to, done: isLast } = here.next.next();
      if (isLast === true) {
        done.add(here.name);
        onPath.delete(here.name);
        path.pop();
      } else if (onPath.has(to)) {
        const closing = found.get(here.name);
        if (closing === undefined) found.set(here.name, [to]);
        else closing.push(to);
      } else if (!done.has(to)) {
        path.push({ name: to, next: stepsFrom(to, definitions) });
        onPath.add(to);
      }
    }
  }
  return found;
}

function stepsFrom(name: string, definitions: ReadonlyMap<string, Definition>): Iterator<string> {
  return new Set(definitions.get(name)?.needs.sameValue.keys()).values();
}

const inSameValue = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];

function withoutRefs(schema: JsonObject, refs: ReadonlySet<string>): JsonObject {
  const kept = Object.entries(schema).filter(
    ([keyword, value]) => keyword !== "$ref" || typeof value !== "string" || !refs.has(value),
  );
  return Object.fromEntries(
    kept.map(([keyword, value]) => [
      keyword,
      inSameValue.includes(keyword) ? withEach(keyword, value, (inner) => withoutRefs(inner, refs)) : value,
    ]),
  );
}
