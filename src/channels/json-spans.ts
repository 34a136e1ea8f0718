import {
  backslash,
  closeBrace,
  closeBracket,
  colon,
  comma,
  hexDigit,
  openBrace,
  openBracket,
  quote,
} from "#src/platform/ascii.ts";
import type { LongWork } from "#src/platform/in-turns.ts";

/** Where a value stands in JSON. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The bytes are no JSON, or are nested deeper or of more values than anybody reads. */
export class NotJson extends Error {
  override readonly name = "NotJson";
}

export const maxDepth = 500;
/** Where each stands takes about as much memory as the longest body. */
export const mostValues = 100_000;
const longestSpace = 64 * 1024;
/** A number may be long, but not so long that it takes time to look at. */
const longestWord = 4096;
/** As it is written: no name or text that is looked for has so many bytes, even if all of it is escaped. */
const longestWritten = 16 * 1024;
/** About half a millisecond's work. */
const turnBytes = 64 * 1024;

/**
 * Reads JSON as bytes, to find where its values stand without making them: what is stored of a document are its own
 * bytes, and a large one must not hold up everybody else. All of it that is passed over is checked.
 */
export class SpanReader {
  readonly bytes: Buffer;
  at: number;
  #turn: number;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
    this.#turn = at;
  }

  /** The next byte that is no space; undefined at the end. */
  peek(): number | undefined {
    const most = this.at + longestSpace;
    let code = this.bytes[this.at];
    while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) {
      code = this.bytes[++this.at];
      if (this.at > most) throw new NotJson();
    }
    return code;
  }

  /** Whether it is time to yield: to be asked for each value. */
  isLong(): boolean {
    if (this.at - this.#turn < turnBytes) return false;
    this.#turn = this.at;
    return true;
  }

  /** Passes over the byte, if it is the next. */
  takes(code: number): boolean {
    if (this.peek() !== code) return false;
    this.at += 1;
    return true;
  }

  take(code: number): void {
    if (!this.takes(code)) throw new NotJson();
  }

  /** Passes over a member's name and the colon, and answers the name. */
  *name(): LongWork<string> {
    const start = (this.peek(), this.at);
    yield* this.#passString();
    const text = shortTextAt(this.bytes, { start, end: this.at });
    this.take(colon);
    return text;
  }

  /** Passes over one value. */
  *pass(): LongWork<void> {
    const closers: number[] = [];
    if (this.isLong()) yield;
    for (;;) {
      yield* this.#passOpening(closers);
      if (!this.#isInside(closers)) return;
      yield* this.#passName(closers);
    }
  }

  /** Checks that nothing follows. */
  end(): void {
    if (this.peek() !== undefined) throw new NotJson();
  }

  /** Passes over a value, or over the brackets with which values begin. */
  *#passOpening(closers: number[]): LongWork<void> {
    for (;;) {
      const code = this.peek();
      if (code === openBrace || code === openBracket) {
        const closer = code === openBrace ? closeBrace : closeBracket;
        this.at += 1;
        if (this.takes(closer)) return;
        if (closers.push(closer) > maxDepth) throw new NotJson();
        if (closer === closeBrace) yield* this.#passName(closers);
      } else if (code === quote) {
        return yield* this.#passString();
      } else {
        return this.#passWord();
      }
      if (this.isLong()) yield;
    }
  }

  /** Passes over what ends with the value; true if another follows. */
  #isInside(closers: number[]): boolean {
    while (closers.length > 0) {
      if (this.takes(comma)) return true;
      const closer = closers.pop();
      if (closer === undefined || !this.takes(closer)) throw new NotJson();
    }
    return false;
  }

  *#passName(closers: readonly number[]): LongWork<void> {
    if (closers.at(-1) === closeBrace) {
      this.peek();
      yield* this.#passString();
      this.take(colon);
    }
    if (this.isLong()) yield;
  }

  *#passString(): LongWork<void> {
    if (this.bytes[this.at] !== quote) throw new NotJson();
    this.at += 1;
    while (!this.#endsString()) yield;
  }

  /** Passes over a part of a string; true if that was its end. */
  #endsString(): boolean {
    const { bytes } = this;
    const until = Math.min(this.at + turnBytes, bytes.length);
    let at = this.at;
    while (at < until) {
      const code = bytes[at]!;
      at += 1;
      if (code === quote) {
        this.at = at;
        return true;
      }
      if (code < 0x20) throw new NotJson();
      if (code === backslash) at = this.#escapeEnd(at);
    }
    if (at >= bytes.length) throw new NotJson();
    this.at = at;
    this.#turn = at;
    return false;
  }

  #escapeEnd(at: number): number {
    const code = this.bytes[at];
    if (code !== 0x75) {
      if (code === undefined || !escapes.includes(code)) throw new NotJson();
      return at + 1;
    }
    for (let digit = 1; digit <= 4; digit++) if (hexDigit(this.bytes[at + digit]) < 0) throw new NotJson();
    return at + 5;
  }

  /** Passes over a number, or over true, false or null. */
  #passWord(): void {
    const start = this.at;
    const most = start + longestWord;
    while (this.at <= most && isOfWord(this.bytes[this.at])) this.at += 1;
    if (this.at > most || !word.test(this.bytes.toString("latin1", start, this.at))) throw new NotJson();
  }
}

const escapes = Buffer.from('"\\/bfnrt');
const word = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

function isOfWord(code: number | undefined): boolean {
  if (code === undefined) return false;
  // Letters, digits, plus, minus and point.
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x2b && code <= 0x39 && code !== 0x2c) || code === 0x45;
}

/** The members of the object that stands there, in their order. */
export function* membersOf(bytes: Buffer, { start }: Pick<Span, "start">): LongWork<[string, Span][]> {
  const reader = new SpanReader(bytes, start);
  const members: [string, Span][] = [];
  reader.take(openBrace);
  if (reader.takes(closeBrace)) return members;
  do {
    const name = yield* reader.name();
    if (members.push([name, yield* passed(reader)]) > mostValues) throw new NotJson();
  } while (reader.takes(comma));
  reader.take(closeBrace);
  return members;
}

/** The items of the list that stands there. */
export function* itemsOf(bytes: Buffer, { start }: Pick<Span, "start">): LongWork<Span[]> {
  const reader = new SpanReader(bytes, start);
  const items: Span[] = [];
  reader.take(openBracket);
  if (reader.takes(closeBracket)) return items;
  do {
    if (items.push(yield* passed(reader)) > mostValues) throw new NotJson();
  } while (reader.takes(comma));
  reader.take(closeBracket);
  return items;
}

/** The one value that the bytes are. */
export function* wholeValue(bytes: Buffer): LongWork<Span> {
  const reader = new SpanReader(bytes);
  const span = yield* passed(reader);
  reader.end();
  return span;
}

function* passed(reader: SpanReader): LongWork<Span> {
  reader.peek();
  const start = reader.at;
  yield* reader.pass();
  return { start, end: reader.at };
}

/** The string that stands there, which is one: its escapes are read. */
export function textAt(bytes: Buffer, { start, end }: Span): string {
  const written = bytes.toString("utf8", start, end);
  return written.includes("\\") ? (JSON.parse(written) as string) : written.slice(1, -1);
}

/** The same, if it is short; one that is too long for all who look for it has its beginning, as it is written. */
export function shortTextAt(bytes: Buffer, span: Span): string {
  const { start, end } = span;
  return end - start <= longestWritten
    ? textAt(bytes, span)
    : bytes.toString("latin1", start, start + longestWritten);
}

/**
 * The text of a string, or a number or boolean as it is written; undefined for anything else. Of one that is far too
 * long to describe an event, the beginning.
 */
export function scalarAt(bytes: Buffer, span: Span): string | undefined {
  const code = bytes[span.start];
  if (code === quote) return shortTextAt(bytes, span);
  if (code === openBrace || code === openBracket) return undefined;
  const written = bytes.toString("latin1", span.start, span.end);
  return written === "null" ? undefined : written;
}
