import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { entriesOf, objectsIn, pointerTo, textsIn } from "./text.ts";

/** Security schemes that are asked for together. */
export interface Requirement {
  /** In the order in which the document has them there. */
  readonly names: readonly string[];
  /** By scheme, all that operations ask for. */
  readonly scopes: ReadonlyMap<string, readonly string[]>;
  /** Where it is asked for first. */
  readonly pointer: string;
}

interface Counted {
  readonly names: readonly string[];
  readonly scopes: Map<string, Set<string>>;
  readonly pointer: string;
  operations: number;
}

/**
 * What the document asks for, each set of schemes once: what it asks for in general, then by how many operations ask
 * for it. Schemes that nothing asks for come last, each by itself.
 */
export function requirementsOf(document: JsonObject, schemes: JsonObject): Requirement[] {
  const counted = new Map<string, Counted>();
  const general = security(document["security"], ["security"], counted);
  for (const { operation, at } of operationsOf(document)) {
    if (operation["security"] === undefined) for (const one of general) one.operations += 1;
    else for (const one of security(operation["security"], [...at, "security"], counted)) one.operations += 1;
  }
  const asked = new Set([...counted.values()].flatMap(({ names }) => names));
  const unasked = Object.keys(schemes)
    .filter((name) => !asked.has(name))
    .map((name) => ({
      names: [name],
      scopes: new Map<string, readonly string[]>(),
      pointer: pointerTo("components", "securitySchemes", name),
    }));
  const byUse = [...counted.values()]
    .filter((one) => !general.includes(one))
    .sort((a, b) => b.operations - a.operations);
  return [...[...general, ...byUse].map(settled), ...unasked];
}

function settled({ names, scopes, pointer }: Counted): Requirement {
  return { names, pointer, scopes: new Map([...scopes].map(([name, set]) => [name, [...set]])) };
}

/** Adds what is asked for there. That nothing may be asked for is no way to sign in. */
function security(
  value: JsonValue | undefined,
  at: readonly string[],
  counted: Map<string, Counted>,
): Counted[] {
  return objectsIn(value).flatMap(({ at: i, item }) => {
    const names = Object.keys(item);
    if (names.length === 0) return [];
    const key = JSON.stringify(names.toSorted());
    const known: Counted = counted.get(key) ?? {
      names,
      scopes: new Map(),
      pointer: pointerTo(...at, i),
      operations: 0,
    };
    counted.set(key, known);
    for (const [name, scopes] of Object.entries(item)) {
      const all = known.scopes.get(name) ?? new Set<string>();
      known.scopes.set(name, all);
      for (const scope of textsIn(scopes)) all.add(scope);
    }
    return [known];
  });
}

function* operationsOf(document: JsonObject): Generator<{ operation: JsonObject; at: string[] }> {
  const { paths, components } = document;
  const shared = isObject(components) ? components["pathItems"] : undefined;
  const places = [
    { items: paths, at: ["paths"] },
    { items: shared, at: ["components", "pathItems"] },
  ];
  for (const { items, at } of places) {
    for (const [path, item] of entriesOf(items)) {
      for (const [method, operation] of entriesOf(item)) {
        if (methods.has(method) && isObject(operation)) yield { operation, at: [...at, path, method] };
      }
    }
  }
}

const methods = new Set(["get", "put", "post", "delete", "options", "head", "patch"]);
