import { inTurns } from "#src/platform/in-turns.ts";

/**
 * Whether an answer holds the credential that was sent: as it is, or in base64, hexadecimal,
 * percent-encoding or JSON escapes. A service that wants to can still hide it; this is for the many that
 * echo requests in error pages, redirects and debug output.
 */
export function reflects(answer: readonly Buffer[], token: string): Promise<boolean> {
  // A token of a few bytes is in most answers by chance (a dummy key "none" would break every call), so
  // a short one is sought as the header value that carried it. That is how services echo it.
  const needles = formsOf(Buffer.from(token.length >= minTokenLength ? token : `Bearer ${token}`));
  return inTurns(holdsOne(answer, needles));
}

function* holdsOne(answer: readonly Buffer[], needles: readonly Buffer[]): Generator<undefined, boolean> {
  for (const text of answer) {
    const plain = yield* unescaped(text);
    for (const needle of needles) {
      if (text.includes(needle) || plain?.includes(needle)) return true;
      // A search takes up to half a millisecond for each megabyte.
      if (text.length > turnLength) yield;
    }
  }
  return false;
}

const minTokenLength = 8;
/** What is looked at in one turn of the event loop; it takes about a millisecond. */
const turnLength = 256 * 1024;

function formsOf(secret: Buffer): Buffer[] {
  const base64 = [0, 1, 2].map((before) => base64Inside(secret, before));
  const urlSafe = base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"));
  const hex = secret.toString("hex");
  const texts = new Set([...base64, ...urlSafe, hex, hex.toUpperCase()]);
  return [secret, ...[...texts].map((text) => Buffer.from(text, "latin1"))];
}

/**
 * The part of the secret's base64 that stays the same whatever stands around it, if the number of bytes before
 * it leaves this remainder when divided by three.
 */
function base64Inside(secret: Buffer, before: number): string {
  const bits = (before + secret.length) * 8;
  const text = Buffer.concat([Buffer.alloc(before), secret]).toString("base64");
  return text.slice(Math.ceil((before * 8) / 6), Math.floor(bits / 6));
}

const percent = 0x25;
const backslash = 0x5c;

/** The text with percent-encoding and JSON escapes of ASCII undone; undefined if it has neither. */
function* unescaped(text: Buffer): Generator<undefined, Buffer | undefined> {
  if (!text.includes(percent) && !text.includes(backslash)) return undefined;
  const place: Place = { text, at: 0, plain: Buffer.allocUnsafe(text.length), length: 0 };
  while (place.at < text.length) {
    if (place.at > 0) yield;
    unescapeUntil(Math.min(place.at + turnLength, text.length), place);
  }
  return place.plain.subarray(0, place.length);
}

/** How far the text is read, and what came of it. */
interface Place {
  readonly text: Buffer;
  at: number;
  readonly plain: Buffer;
  length: number;
}

/** Reads at least up to the end, and on to that of an escape. Not part of the generator, which is several times slower. */
function unescapeUntil(end: number, place: Place): void {
  const { text, plain } = place;
  let { at, length } = place;
  while (at < end) {
    const byte = text[at]!;
    const width = byte === percent || byte === backslash ? escapeWidth(text, at) : 1;
    // An escape ends in what it stands for: two digits, or the character itself.
    plain[length++] = width === 1 ? byte : width === 2 ? text[at + 1]! : hexByte(text, at + width - 2);
    at += width;
  }
  place.at = at;
  place.length = length;
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
