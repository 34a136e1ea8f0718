import { RE2JS } from "re2js";

/** A match takes a tenth of a microsecond for each character. */
const maxMatched = 64 * 1024;

/**
 * A pattern of a schema. In RE2, because a few characters can hold a backtracking engine for hours. One that RE2 has no
 * form for, with look-around, is left to the service, and so is a longer text.
 */
export class Pattern {
  readonly #source: string;
  readonly #compiled: RE2JS | undefined;

  constructor(source: string) {
    this.#source = source;
    try {
      this.#compiled = RE2JS.compile(RE2JS.translateRegExp(source));
    } catch {
      this.#compiled = undefined;
    }
  }

  test(text: string): boolean {
    return text.length > maxMatched || this.#compiled === undefined || this.#compiled.test(text);
  }

  /** By it, Ajv tells patterns apart: without it, each would be taken for the first one. */
  toString(): string {
    return this.#source;
  }
}
