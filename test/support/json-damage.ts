import fc from "fast-check";
import type { Json } from "./json-schema.ts";

/** The value with one thing changed somewhere inside it, as mistakes and attacks change it; often still valid. */
export function damaged(value: Json): fc.Arbitrary<Json> {
  return fc
    .constantFrom(...waysInto(value))
    .chain((way) => fc.constantFrom(...changesOf(at(value, way))).map((change) => put(value, way, change)));
}

type Way = readonly (string | number)[];

function waysInto(value: Json, way: Way = []): Way[] {
  if (typeof value !== "object" || value === null) return [way];
  const members: [string | number, Json][] = Array.isArray(value)
    ? value.map((item, index) => [index, item])
    : Object.entries(value);
  return [way, ...members.flatMap(([name, member]) => waysInto(member, [...way, name]))];
}

const removed = Symbol("removed");
type Change = Json | typeof removed;

function changesOf(value: Json): Change[] {
  const ofAnyKind: Change[] = [
    removed,
    null,
    7,
    -1,
    1.5,
    1e9,
    "",
    "text",
    "7",
    true,
    [],
    {},
    [value],
    { a: value },
  ];
  if (typeof value === "string")
    return [...ofAnyKind, `${value}\0`, `${value}\n`, ` ${value}`, "x".repeat(600), "x".repeat(20_000)];
  if (typeof value === "number") return [...ofAnyKind, String(value), value + 0.5, value * 1e6, -value - 1];
  if (Array.isArray(value)) return [...ofAnyKind, [...value, null], repeated(value, 201), [...value, 7]];
  if (typeof value !== "object" || value === null) return [...ofAnyKind, String(value)];
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`k${index}`, "v"]));
  return [...ofAnyKind, { ...value, unheardOf: 1 }, { ...value, "": "" }, { ...value, ...many }];
}

function repeated(items: readonly Json[], times: number): Json {
  return Array.from({ length: times }, () => items[0] ?? "text");
}

function at(value: Json, way: Way): Json {
  return way.reduce<Json>((part, name) => (part as Record<string | number, Json>)[name]!, value);
}

/** A copy, so that a failure can be shrunk. */
function put(value: Json, [name, ...rest]: Way, change: Change): Json {
  if (name === undefined) return change === removed ? null : change;
  const copy = Array.isArray(value) ? [...value] : { ...(value as Record<string, Json>) };
  const members = copy as Record<string | number, Json>;
  if (rest.length === 0 && change === removed) {
    if (Array.isArray(copy)) copy.splice(Number(name), 1);
    else delete members[name];
  } else {
    members[name] = put(members[name]!, rest, change);
  }
  return copy;
}
