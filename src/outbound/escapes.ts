import { backslash, hexDigit, quote } from "#src/platform/ascii.ts";

const percent = 0x25;

/**
 * Reads what stands around the escapes of a text, with percent-encoding and JSON escapes of ASCII undone. Further from
 * an escape than `reach` it reads nothing.
 *
 * A class, as code that is new for each text would hardly be optimized.
 */
export class EscapeReader {
  readonly #text: Buffer;
  readonly #reach: number;
  readonly #pieceLength: number;
  /** Made for the first escape, since few texts have one. */
  #plain = Buffer.of();
  #length = 0;
  /** How far the text is read. */
  #at = 0;
  /** Up to here, it is near the last escape. */
  #near = 0;
  #nextPercent = -1;
  #nextBackslash = -1;

  constructor(text: Buffer, reach: number, pieceLength: number) {
    this.#text = text;
    this.#reach = reach;
    this.#pieceLength = pieceLength;
  }

  /** Reads on up to here, at most `pieceLength` bytes further: what there is to see, and the end of what was before. */
  readUntil(end: number): Buffer {
    const kept = Math.min(this.#length, this.#reach);
    this.#plain.copyWithin(0, this.#length - kept, this.#length);
    this.#length = kept;
    while (this.#at < end) {
      if (this.#at >= this.#near) this.#approach(end);
      this.#takeUntil(end);
    }
    return this.#plain.subarray(0, this.#length);
  }

  /** Goes to the next escape, and takes what stands right before it. */
  #approach(end: number): void {
    const [text, reach] = [this.#text, this.#reach];
    let at = this.#nextSign(this.#at);
    while (at < end && escapeWidth(text, at) === 1) at = this.#nextSign(at + 1);
    this.#at = at;
    if (at >= end) return;
    if (this.#plain.length === 0) this.#plain = Buffer.allocUnsafe(4 * reach + this.#pieceLength);
    // Nothing that is looked for has two of them, nor one beside an escape.
    if (at - this.#near > reach) this.#plain[this.#length++] = 0;
    this.#length += text.copy(this.#plain, this.#length, Math.max(this.#near, at - reach), at);
    this.#near = at + reach;
  }

  /** Takes what is near. */
  #takeUntil(end: number): void {
    const [text, plain, reach] = [this.#text, this.#plain, this.#reach];
    let at = this.#at;
    let length = this.#length;
    let near = this.#near;
    while (at < near && at < end) {
      const byte = text[at]!;
      const width = byte === percent || byte === backslash ? escapeWidth(text, at) : 1;
      // An escape ends in what it stands for: two digits, or the character itself.
      plain[length++] = width === 1 ? byte : width === 2 ? text[at + 1]! : hexByte(text, at + width - 2);
      at += width;
      if (width > 1) near = at + reach;
    }
    this.#at = at;
    this.#length = length;
    this.#near = near;
  }

  /** The next sign that an escape begins with, at or behind a place that never goes back. */
  #nextSign(from: number): number {
    if (this.#nextPercent < from) this.#nextPercent = nextOf(percent, this.#text, from);
    if (this.#nextBackslash < from) this.#nextBackslash = nextOf(backslash, this.#text, from);
    return Math.min(this.#nextPercent, this.#nextBackslash);
  }
}

function nextOf(sign: number, text: Buffer, from: number): number {
  const found = text.indexOf(sign, from);
  return found === -1 ? text.length : found;
}

/** How many bytes the escape has that begins here; 1 if none does. */
function escapeWidth(text: Buffer, at: number): number {
  if (text[at] === percent) return hexByte(text, at + 1) === -1 ? 1 : 3;
  const next = text[at + 1];
  if (next === 0x2f || next === quote || next === backslash) return 2;
  const isUnicode = next === 0x75 && text[at + 2] === 0x30 && text[at + 3] === 0x30;
  return isUnicode && hexByte(text, at + 4) !== -1 ? 6 : 1;
}

function hexByte(text: Buffer, at: number): number {
  const high = hexDigit(text[at]);
  const low = hexDigit(text[at + 1]);
  return high === -1 || low === -1 ? -1 : high * 16 + low;
}
