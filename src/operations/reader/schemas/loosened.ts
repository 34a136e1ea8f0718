import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import type { Needs } from "../needs.ts";
import { measured, type Definition } from "./definitions.ts";
import { refOf } from "./references.ts";
import { withEach } from "./within.ts";

/** The names of the definitions that more values fit than the document means, by themselves or by what they refer to. */
export function widerAmong(definitions: ReadonlyMap<string, Definition>): ReadonlySet<string> {
  const users = new Map<string, string[]>();
  for (const [user, { needs }] of definitions) {
    for (const name of needs.names) {
      const known = users.get(name);
      if (known === undefined) users.set(name, [user]);
      else known.push(user);
    }
  }
  const wider = new Set([...definitions].flatMap(([name, { needs }]) => (needs.isWider ? [name] : [])));
  // A set that grows goes on with what was added.
  for (const name of wider) for (const user of users.get(name) ?? []) wider.add(user);
  return wider;
}

/** The definitions, each loosened. */
export function withLooseDefinitions(
  definitions: ReadonlyMap<string, Definition>,
  wider: ReadonlySet<string>,
): ReadonlyMap<string, Definition> {
  const loose = new Map(definitions);
  for (const name of wider) {
    const definition = definitions.get(name);
    if (definition === undefined) continue;
    const schema = loosened(definition.schema, definition.needs, wider);
    loose.set(name, { ...definition, schema, ...measured(name, schema) });
  }
  return loose;
}

/** The schema without the rules that refuse a value because it fits something: what fits too much would refuse too much. */
export function loosened(schema: JsonObject, needs: Needs, wider: ReadonlySet<string>): JsonObject {
  if (!needs.isWider && needs.names.isDisjointFrom(wider)) return schema;
  const isWider = (part: JsonValue | undefined) => needs.isWider || refersTo(part, wider);
  const loose = (given: JsonObject): JsonObject => {
    const kept = Object.entries(given).filter(([keyword]) => {
      if (keyword === "not" || keyword === "if") return !isWider(given[keyword]);
      if (keyword === "then" || keyword === "else") return !isWider(given["if"]);
      return !keyword.startsWith("unevaluated") || !isWider(given);
    });
    const { oneOf, ...rest } = Object.fromEntries(
      kept.map(([keyword, value]) => [keyword, withEach(keyword, value, loose)]),
    );
    if (oneOf === undefined) return rest;
    if (!isWider(oneOf)) return { ...rest, oneOf };
    return rest["anyOf"] === undefined ? { ...rest, anyOf: oneOf } : rest;
  };
  return loose(schema);
}

function refersTo(part: JsonValue | undefined, wider: ReadonlySet<string>): boolean {
  if (Array.isArray(part)) return part.some((item) => refersTo(item, wider));
  if (!isObject(part)) return false;
  const ref = refOf(part);
  return (
    (ref !== undefined && wider.has(ref.slice("#/$defs/".length))) ||
    Object.values(part).some((member) => refersTo(member, wider))
  );
}
