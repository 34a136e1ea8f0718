import { openBrace, openBracket } from "#src/platform/ascii.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import { walkJson, type JsonVisitor } from "#src/json/walk.ts";

/** Deeper than any page that means something. */
const maxDepth = 200;

/** The tokens of a JSON Pointer (RFC 6901). */
export function tokensOf(pointer: string): string[] {
  const escaped = pointer.split("/").slice(1);
  return escaped.map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** What a page holds, as text that stands in it. */
export interface Places {
  /** The elements of the list; undefined if there is no list at its place. */
  readonly elements: readonly string[] | undefined;
  /** The value at the other place. */
  readonly value: string | undefined;
}

/**
 * Finds the elements of one list and one other value, without parsing them: what is stored of an element is its own
 * text. Takes turns with the rest of the event loop. Throws InvalidRequest for text that is not JSON.
 */
export async function findPlaces(text: string, list: string, other: string | undefined): Promise<Places> {
  const finder = new Finder(text, tokensOf(list), other === undefined ? undefined : tokensOf(other));
  await inTurns(walkJson(text, { maxDepth, allowsNul: true, anyNumber: true }, finder));
  return finder;
}

interface Level {
  readonly isList: boolean;
  readonly start: number;
  /** Of the present member or element. */
  name: string;
  index: number;
}

class Finder implements JsonVisitor, Places {
  elements: string[] | undefined;
  value: string | undefined;
  readonly #text: string;
  readonly #list: readonly string[];
  readonly #other: readonly string[] | undefined;
  readonly #levels: Level[] = [];

  constructor(text: string, list: readonly string[], other: readonly string[] | undefined) {
    this.#text = text;
    this.#list = list;
    this.#other = other;
  }

  open(start: number): void {
    this.#begin();
    const code = this.#text.charCodeAt(start);
    if (code === openBracket && this.#isAt(this.#list)) this.elements ??= [];
    this.#levels.push({ isList: code !== openBrace, start, name: "", index: -1 });
  }

  name(name: string): void {
    const level = this.#levels.at(-1);
    if (level !== undefined) level.name = name;
  }

  scalar(start: number, end: number): void {
    this.#begin();
    this.#found(start, end);
  }

  close(end: number): void {
    const level = this.#levels.pop();
    if (level !== undefined) this.#found(level.start, end);
  }

  #begin(): void {
    const level = this.#levels.at(-1);
    if (level?.isList === true) level.name = String(++level.index);
  }

  #found(start: number, end: number): void {
    const depth = this.#levels.length;
    const isElement = depth === this.#list.length + 1 && this.#levels.at(-1)?.isList === true;
    if (isElement && this.#isBehind(this.#list)) this.elements?.push(this.#text.slice(start, end));
    if (this.#other !== undefined && this.#isAt(this.#other)) this.value = this.#text.slice(start, end);
  }

  #isAt(tokens: readonly string[]): boolean {
    return this.#levels.length === tokens.length && this.#isBehind(tokens);
  }

  #isBehind(tokens: readonly string[]): boolean {
    return tokens.every((token, i) => this.#levels[i]?.name === token);
  }
}

/** What the pointer finds in a value; undefined for nothing. */
function valueAt(json: unknown, tokens: readonly string[]): unknown {
  let value = json;
  for (const token of tokens) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, token)) return undefined;
    value = (value as Record<string, unknown>)[token];
  }
  return value;
}

/** A text or a number as text; undefined for what is neither. */
export function textAt(json: unknown, tokens: readonly string[] | undefined): string | undefined {
  const value = tokens && valueAt(json, tokens);
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? value : undefined;
}
