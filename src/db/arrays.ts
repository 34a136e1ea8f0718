type Convert = (value: unknown) => unknown;

// Array types and their element types. postgres.js would ask the server for them; drizzle's reader drops backslashes.
const arrayTypes = [
  [1000, 16],
  [1001, 17],
  [1005, 21],
  [1007, 23],
  [1009, 25],
  [1015, 1043],
  [1016, 20],
  [1021, 700],
  [1022, 701],
  [1115, 1114],
  [1185, 1184],
  [2951, 2950],
  [199, 114],
  [3807, 3802],
] as const;

/** Reads array literals, each element with the parser of its type. */
export function arrayParsers(parsers: Readonly<Record<number, Convert>>): Record<number, Convert> {
  return Object.fromEntries(
    arrayTypes.map(([type, element]) => [
      type,
      (text: unknown) => fromLiteral(String(text), parsers[element]),
    ]),
  );
}

/** A list as Postgres writes it: `{"a","b"}`. postgres.js would take the type of the first element for the list's. */
export function toArrayLiteral(list: readonly unknown[]): string {
  return `{${list.map(toElement).join(",")}}`;
}

function toElement(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (Array.isArray(value)) return toArrayLiteral(value);
  // Digits need no look at each of them, and there may be a million.
  if (value instanceof Uint8Array) return `"\\\\x${hexOf(value)}"`;
  return `"${toText(value).replace(/["\\]/g, "\\$&")}"`;
}

function toText(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Date) return value.toISOString();
  return typeof value === "object" ? JSON.stringify(value) : `${value as number | bigint | boolean}`;
}

function hexOf({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("hex");
}

const tokens = /"((?:[^"\\]|\\.)*)"|[{}]|[^{},"]+/gs;

function fromLiteral(literal: string, parse: Convert = (value) => value): unknown {
  const outermost: unknown[] = [];
  const open = [outermost];
  for (const [token, quoted] of literal.matchAll(tokens)) {
    const list = open.at(-1);
    if (quoted !== undefined) list?.push(parse(quoted.replace(/\\(.)/gs, "$1")));
    else if (token === "{") {
      const inner: unknown[] = [];
      list?.push(inner);
      open.push(inner);
    } else if (token === "}") open.pop();
    else list?.push(token === "NULL" ? null : parse(token));
  }
  return outermost[0];
}
