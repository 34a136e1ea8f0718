import type { JsonValue } from "@bufbuild/protobuf";
import { atOnce, type LongWork } from "#src/platform/in-turns.ts";
import type { ValueCount } from "./value-count.ts";
import { scalarAt, walkJson, type JsonRules, type JsonVisitor } from "./walk.ts";

const none: ReadonlySet<string> = new Set();

/** The value of a JSON text, refused if `JSON.parse` would silently change it. */
export function parseExactly(text: string, maxDepth: number): JsonValue {
  return atOnce(parsing(text, { maxDepth, allowsNul: true }));
}

/**
 * Parses JSON that keeps to the rules. The members of the outermost object with one of the names to keep are left as
 * `JsonText`, and not counted.
 */
export function* parsing(
  text: string,
  rules: JsonRules,
  { kept = none, count }: { kept?: ReadonlySet<string>; count?: ValueCount } = {},
): LongWork<JsonValue> {
  const builder = new Builder(text, kept, count);
  yield* walkJson(text, rules, builder);
  return builder.result;
}

/** JSON that was checked and is not parsed, among parsed JSON. */
export class JsonText {
  readonly text: string;

  private constructor(text: string) {
    this.text = text;
  }

  /** It is no JSON, except to `messageFromJson` and `JSON.stringify`. */
  static asJson(text: string): JsonValue {
    const json: unknown = new JsonText(text);
    return json as JsonValue;
  }

  static isOne(json: unknown): json is JsonText {
    return json instanceof JsonText;
  }

  toJSON(): unknown {
    return parseExactly(this.text, Infinity);
  }
}

/** An object or list that is not at its end. */
interface Open {
  /** Of an object; undefined for a list. */
  readonly members: [string, JsonValue][] | undefined;
  readonly items: JsonValue[];
  name: string;
}

class Builder implements JsonVisitor {
  result: JsonValue = null;
  readonly #text: string;
  readonly #kept: ReadonlySet<string>;
  readonly #count: ValueCount | undefined;
  readonly #around: Open[] = [];
  /** Where the member begins that is kept as text, and how deep inside it the present place is. */
  #keptStart = 0;
  #keptDepth = 0;

  constructor(text: string, kept: ReadonlySet<string>, count: ValueCount | undefined) {
    this.#text = text;
    this.#kept = kept;
    this.#count = count;
  }

  open(start: number): void {
    if (this.#keptDepth > 0 || this.#isKept()) {
      if (this.#keptDepth++ === 0) this.#keptStart = start;
      return;
    }
    const members = this.#text[start] === "{" ? [] : undefined;
    this.#around.push({ members, items: [], name: "" });
  }

  name(name: string): void {
    if (this.#keptDepth > 0) return;
    this.#around.at(-1)!.name = name;
    this.#count?.addMember();
  }

  scalar(start: number, end: number): void {
    if (this.#keptDepth > 0) return;
    this.#add(this.#isKept() ? this.#keep(start, end) : scalarAt(this.#text, start, end));
  }

  close(end: number): void {
    if (this.#keptDepth > 0) {
      if (--this.#keptDepth === 0) this.#add(this.#keep(this.#keptStart, end));
      return;
    }
    const { members, items } = this.#around.pop()!;
    this.#add(members === undefined ? items : Object.fromEntries(members));
  }

  #isKept(): boolean {
    return this.#kept.size > 0 && this.#around.length === 1 && this.#kept.has(this.#around[0]!.name);
  }

  #keep(start: number, end: number): JsonValue {
    return JsonText.asJson(this.#text.slice(start, end));
  }

  #add(value: JsonValue): void {
    this.#count?.addValues(1);
    const open = this.#around.at(-1);
    if (open === undefined) this.result = value;
    else if (open.members === undefined) open.items.push(value);
    else open.members.push([open.name, value]);
  }
}
