import { backslash, quote } from "#src/platform/ascii.ts";
import type { LongWork } from "#src/platform/in-turns.ts";
import { piecesOfString } from "./pieces.ts";

const bufferBytes = 64 * 1024;

/** JSON that is written as bytes: strings of it would be objects of their own, and there are hundreds of thousands. */
export class JsonBytes {
  /** What is full. */
  readonly #pieces: Buffer[] = [];
  #buffer = Buffer.allocUnsafe(bufferBytes);
  #length = 0;

  /** All that was written. */
  finish(): Buffer {
    this.#flush();
    return Buffer.concat(this.#pieces);
  }

  /** One character of ASCII. */
  character(code: number): void {
    if (this.#length === this.#buffer.length) this.#flush();
    this.#buffer[this.#length++] = code;
  }

  /** A word or number, which is short. */
  word(text: string): void {
    this.#reserve(text.length);
    this.#length += this.#buffer.write(text, this.#length, "latin1");
  }

  /** The text as a string, with turns for others between its pieces. */
  *longString(text: string): LongWork<void> {
    this.#flush();
    for (const piece of piecesOfString(text)) {
      this.#pieces.push(piece);
      yield;
    }
  }

  /** A text that is not long, as a string. */
  shortString(text: string): void {
    const json = Buffer.from(JSON.stringify(text));
    this.#reserve(json.length);
    if (json.length > bufferBytes) this.#pieces.push(json);
    else this.#length += json.copy(this.#buffer, this.#length);
  }

  /** The bytes as a string, if they are all ASCII that needs no escape and not many; false, with nothing written, if not. */
  plainString(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start > bufferBytes - 2) return false;
    this.#reserve(end - start + 2);
    const buffer = this.#buffer;
    let at = this.#length;
    buffer[at++] = quote;
    for (let index = start; index < end; index++) {
      const code = bytes[index]!;
      if (code < 0x20 || code > 0x7e || code === quote || code === backslash) return false;
      buffer[at++] = code;
    }
    buffer[at++] = quote;
    this.#length = at;
    return true;
  }

  #reserve(bytes: number): void {
    if (this.#buffer.length - this.#length < bytes) this.#flush();
  }

  #flush(): void {
    if (this.#length === 0) return;
    this.#pieces.push(this.#buffer.subarray(0, this.#length));
    this.#buffer = Buffer.allocUnsafe(bufferBytes);
    this.#length = 0;
  }
}
