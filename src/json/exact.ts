import type { JsonValue } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { atOnce, type LongWork } from "#src/platform/in-turns.ts";
import { scalarAt, walkJson, type JsonRules, type JsonVisitor } from "./walk.ts";

/** More values than any request of ours needs: they take some 20 ms to become a message. */
const maxValues = 40_000;
/** Of these, members of objects, which take longer. */
const maxMembers = 10_000;

const none: ReadonlySet<string> = new Set();

/** The value of a JSON text, refused if `JSON.parse` would silently change it. */
export function parseExactly(text: string, maxDepth: number): JsonValue {
  return atOnce(parsing(text, { maxDepth, allowsNul: true }, { limited: false }));
}

/**
 * Parses JSON that keeps to the rules, of so few values that what is done with it later takes no long time. The members
 * of the outermost object with one of the names are kept as `JsonText` and may have any number of values.
 */
export function* parsing(
  text: string,
  rules: JsonRules,
  { kept = none, limited = true }: { kept?: ReadonlySet<string>; limited?: boolean },
): LongWork<JsonValue> {
  const builder = new Builder(text, kept, limited);
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
  readonly #limited: boolean;
  readonly #around: Open[] = [];
  /** Where the member begins that is kept as text, and how deep inside it the present place is. */
  #keptStart = 0;
  #keptDepth = 0;
  #values = 0;
  #members = 0;

  constructor(text: string, kept: ReadonlySet<string>, limited: boolean) {
    this.#text = text;
    this.#kept = kept;
    this.#limited = limited;
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
    if (++this.#members > maxMembers && this.#limited) throw tooMany(maxMembers, "members of objects");
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
    if (++this.#values > maxValues && this.#limited) throw tooMany(maxValues, "values");
    const open = this.#around.at(-1);
    if (open === undefined) this.result = value;
    else if (open.members === undefined) open.items.push(value);
    else open.members.push([open.name, value]);
  }
}

function tooMany(most: number, what: string): InvalidRequest {
  return new InvalidRequest(`the body has more than ${most} ${what}`);
}
