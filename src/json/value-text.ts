import { BinaryReader } from "@bufbuild/protobuf/wire";
import { closeBrace, closeBracket, colon, comma, openBrace, openBracket } from "#src/platform/ascii.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { LongWork } from "#src/platform/in-turns.ts";
import { JsonBytes } from "./json-bytes.ts";
import { Names } from "./names.ts";
import { maxNameLength } from "./scalars.ts";
import { entryValueTag, firstTag, valueTags as tags } from "./value-tags.ts";

/** Readers of protobuf stop at 100 messages inside each other; an object or list in a message's field is two of them. */
const maxDepth = 49;

/** So many values, or the values in so many bytes, take about a millisecond. */
const turnValues = 2_000;
const turnBytes = 64 * 1024;
/** Longer texts are written in turns of their own. */
const longText = 16 * 1024;

/**
 * The JSON that a binary `google.protobuf.Value` stands for. Refuses, in the name of its field, what JSON and the
 * database cannot hold. Throws any other error if the bytes are no such message, as encoders write it: with one kind in
 * each value, a key and then a value in each entry, and each key once.
 */
export function* valueText(bytes: Uint8Array, field: string): LongWork<Buffer> {
  const reader = new ValueReader(bytes, field);
  reader.readValue(bytes.length);
  let turnEnd = turnBytes;
  for (let values = 1; ; values++) {
    if (reader.longText !== undefined) yield* reader.writeLong(reader.longText);
    if (!reader.isInside) return reader.json.finish();
    if (values % turnValues === 0 || reader.position > turnEnd) {
      yield;
      turnEnd = reader.position + turnBytes;
    }
    reader.readNext();
  }
}

/** An object or list around the present place. */
interface Level {
  /** Where the next item or entry begins. */
  next: number;
  readonly end: number;
  /** Undefined in a list. */
  readonly names: Names | undefined;
  isFirst: boolean;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class ValueReader {
  readonly json = new JsonBytes();
  /** A text that was read and has yet to be written. */
  longText: string | undefined;
  readonly #bytes: Buffer;
  readonly #reader: BinaryReader;
  readonly #field: string;
  readonly #around: Level[] = [];

  constructor({ buffer, byteOffset, length }: Uint8Array, field: string) {
    this.#bytes = Buffer.from(buffer, byteOffset, length);
    this.#reader = new BinaryReader(this.#bytes);
    this.#field = field;
  }

  /** How many bytes are read. */
  get position(): number {
    return this.#reader.pos;
  }

  get isInside(): boolean {
    return this.#around.length > 0;
  }

  *writeLong(text: string): LongWork<void> {
    this.longText = undefined;
    yield* this.json.longString(text);
  }

  /** Reads the next item or entry of the innermost list or object, or its end. */
  readNext(): void {
    const level = this.#around.at(-1)!;
    this.#reader.pos = level.next;
    if (level.next === level.end) {
      this.#around.pop();
      this.json.character(level.names === undefined ? closeBracket : closeBrace);
      return;
    }
    this.#expect(firstTag);
    level.next = this.#endOfNext(level.end);
    if (!level.isFirst) this.json.character(comma);
    level.isFirst = false;
    if (level.names !== undefined) this.#readKey(level.next, level.names);
    this.readValue(level.next);
  }

  /** Reads an entry up to its value. */
  #readKey(end: number, names: Names): void {
    this.#expect(firstTag);
    const keyEnd = this.#endOfNext(end);
    if (keyEnd - this.#reader.pos > maxNameLength) {
      throw this.#refusal(`must have no name of more than ${maxNameLength} bytes`);
    }
    if (!names.add(this.#bytes.toString("latin1", this.#reader.pos, keyEnd)))
      throw new Error("a key is given twice");
    const longKey = this.#readText(keyEnd);
    if (longKey !== undefined) this.json.shortString(longKey);
    this.json.character(colon);
    if (keyEnd === end) throw this.#refusal("must have a value");
    this.#expect(entryValueTag);
    if (this.#endOfNext(end) !== end) throw new Error("an entry has more than a key and a value");
  }

  /** Reads the value that ends there; of a list or an object, only the beginning. */
  readValue(end: number): void {
    if (this.#reader.pos === end) throw this.#refusal("must have a value");
    switch (this.#bytes[this.#reader.pos++]) {
      case tags.string:
        this.longText = this.#readText(this.#endOfNext(end));
        break;
      case tags.number:
        this.json.word(this.#readNumber());
        break;
      case tags.bool:
        this.json.word(String(this.#reader.bool()));
        break;
      case tags.null:
        this.#reader.int32();
        this.json.word("null");
        break;
      case tags.struct:
        return this.#open(end, new Names());
      case tags.list:
        return this.#open(end, undefined);
      default:
        throw new Error("a value has no kind that is known");
    }
    if (this.#reader.pos !== end) throw new Error("a value has more than one kind");
  }

  #open(end: number, names: Names | undefined): void {
    if (this.#around.length === maxDepth) throw new Error("a value is nested too deeply");
    if (this.#endOfNext(end) !== end) throw new Error("a value has more than one kind");
    this.#around.push({ next: this.#reader.pos, end, names, isFirst: true });
    this.json.character(names === undefined ? openBracket : openBrace);
  }

  /** Reads a text, and answers it if it is long, to be written. */
  #readText(end: number): string | undefined {
    const start = this.#reader.pos;
    this.#reader.pos = end;
    if (this.json.plainString(this.#bytes, start, end)) return undefined;
    const text = utf8.decode(this.#bytes.subarray(start, end));
    if (text.includes("\0")) throw this.#refusal("must not contain NUL characters");
    if (text.length > longText) return text;
    this.json.shortString(text);
    return undefined;
  }

  #readNumber(): string {
    const number = this.#reader.double();
    if (Number.isFinite(number)) return String(number);
    throw this.#refusal("must be a finite number");
  }

  #expect(tag: number): void {
    if (this.#bytes[this.#reader.pos++] !== tag) throw new Error("a field is not known");
  }

  /** Reads the length of what follows. */
  #endOfNext(outerEnd: number): number {
    const length = this.#reader.uint32();
    const end = this.#reader.pos + length;
    if (end > outerEnd) throw new Error("premature end");
    return end;
  }

  #refusal(why: string): InvalidRequest {
    return new InvalidRequest(`${this.#field}: ${why}`);
  }
}
