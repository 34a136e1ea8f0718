/**
 * Reads what stands around the escapes of a text, with percent-encoding and JSON escapes of ASCII undone. Further from
 * an escape than `reach` it reads nothing.
 */
export interface EscapeReader {
  /** Reads on up to here, at most `pieceLength` bytes further: what there is to see, and the end of what was before. */
  readUntil(end: number): Buffer;
}

const percent = 0x25;
const backslash = 0x5c;

/** Creates a reader at the start of the text. */
export function createEscapeReader(text: Buffer, reach: number, pieceLength: number): EscapeReader {
  const nextSign = createSignFinder(text);
  /** Made for the first escape, since few texts have one. */
  let plain = Buffer.of();
  let length = 0;
  /** How far the text is read. */
  let at = 0;
  /** Up to here, it is near the last escape. */
  let near = 0;

  /** Goes to the next escape, and takes what stands right before it. */
  function approach(end: number): void {
    at = nextSign(at);
    while (at < end && escapeWidth(text, at) === 1) at = nextSign(at + 1);
    if (at >= end) return;
    if (plain.length === 0) plain = Buffer.allocUnsafe(4 * reach + pieceLength);
    // NUL is in nothing that is looked for.
    if (at - near > reach) plain[length++] = 0;
    length += text.copy(plain, length, Math.max(near, at - reach), at);
    near = at + reach;
  }

  /** Takes what is near. Its variables are its own, which is faster. */
  function takeUntil(end: number): void {
    let from = at;
    let to = length;
    let last = near;
    while (from < last && from < end) {
      const byte = text[from]!;
      const width = byte === percent || byte === backslash ? escapeWidth(text, from) : 1;
      // An escape ends in what it stands for: two digits, or the character itself.
      plain[to++] = width === 1 ? byte : width === 2 ? text[from + 1]! : hexByte(text, from + width - 2);
      from += width;
      if (width > 1) last = from + reach;
    }
    at = from;
    length = to;
    near = last;
  }

  return {
    readUntil(end) {
      const kept = Math.min(length, reach);
      plain.copyWithin(0, length - kept, length);
      length = kept;
      while (at < end) {
        if (at >= near) approach(end);
        takeUntil(end);
      }
      return plain.subarray(0, length);
    },
  };
}

/** Finds the next sign that an escape begins with, at or behind a place that never goes back. */
function createSignFinder(text: Buffer): (from: number) => number {
  let nextPercent = -1;
  let nextBackslash = -1;
  const find = (sign: number, from: number): number => {
    const found = text.indexOf(sign, from);
    return found === -1 ? text.length : found;
  };
  return (from) => {
    if (nextPercent < from) nextPercent = find(percent, from);
    if (nextBackslash < from) nextBackslash = find(backslash, from);
    return Math.min(nextPercent, nextBackslash);
  };
}

/** How many bytes the escape has that begins here; 1 if none does. */
function escapeWidth(text: Buffer, at: number): number {
  if (text[at] === percent) return hexByte(text, at + 1) === -1 ? 1 : 3;
  const next = text[at + 1];
  if (next === 0x2f || next === 0x22 || next === backslash) return 2;
  const isUnicode = next === 0x75 && text[at + 2] === 0x30 && text[at + 3] === 0x30;
  return isUnicode && hexByte(text, at + 4) !== -1 ? 6 : 1;
}

function hexByte(text: Buffer, at: number): number {
  const high = hexDigit(text[at]);
  const low = hexDigit(text[at + 1]);
  return high === -1 || low === -1 ? -1 : high * 16 + low;
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}
