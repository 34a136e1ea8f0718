import { inTurns } from "#src/platform/in-turns.ts";
import { EscapeReader } from "./escapes.ts";
import { Needles } from "./needles.ts";

/**
 * Whether an answer holds one of the secrets that were sent: as it is, or in base64, hexadecimal,
 * percent-encoding, JSON escapes or UTF-16, which we would decode. A service that wants to can still hide it; this is for the many that
 * echo requests in error pages, redirects and debug output.
 */
export async function reflects(answer: readonly Buffer[], secrets: readonly string[]): Promise<boolean> {
  const needles = needlesOf(secrets);
  return needles !== undefined && inTurns(holdsOne(answer, needles));
}

/** The forms in which one of the secrets could stand in an answer; undefined if there is none to look for. */
export function needlesOf(secrets: readonly string[]): Needles | undefined {
  const forms = new Set(secrets.flatMap(formsOf));
  return forms.size === 0 ? undefined : new Needles([...forms]);
}

function* holdsOne(answer: readonly Buffer[], needles: Needles): Generator<undefined, boolean> {
  for (const text of answer) {
    const escapes = new EscapeReader(text, needles.longest, turnLength);
    for (let from = 0; from < text.length; from += turnLength) {
      // Before the first piece as well: a long answer was put together in this turn.
      if (text.length > turnLength) yield;
      const to = Math.min(from + turnLength, text.length);
      if (needles.areIn(text, Math.max(0, from - needles.longest), to)) return true;
      const plain = escapes.readUntil(to);
      if (needles.areIn(plain, 0, plain.length)) return true;
    }
  }
  return false;
}

/** Of a longer credential its end is sought, which tells it from others: those of one kind often begin alike. */
const soughtLength = 64;
/** What is looked at in one turn of the event loop: it takes a tenth of a millisecond, or some if made to be slow. */
const turnLength = 128 * 1024;

/** Below this length, encoded forms are in most answers by chance. */
const shortestEncoded = 8;

/** Texts with one character for each byte. */
function formsOf(secret: string): string[] {
  const isAscii = /^[\0-\x7f]*$/.test(secret);
  const end = (isAscii ? secret : Buffer.from(secret).toString("latin1")).slice(-soughtLength);
  if (end.length < shortestEncoded) return [end];
  const base64 = [0, 1, 2].map((before) => base64Inside(end, before));
  const urlSafe = base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"));
  const hex = Buffer.from(end, "latin1").toString("hex");
  return [end, ...base64, ...urlSafe, hex, hex.toUpperCase(), ...otherCharsets(secret, isAscii)];
}

/** How it looks in UTF-16 and, where that is another text than in UTF-8, in Latin-1 and in escapes of JSON. */
function otherCharsets(secret: string, isAscii: boolean): string[] {
  const end = secret.slice(-soughtLength);
  // In either order of its bytes.
  if (isAscii) return [Buffer.from(end, "utf16le").toString("latin1", 0, 2 * end.length - 1)];
  const utf16 = Buffer.from(end, "utf16le");
  const escaped = end.replace(/[^\0-\x7f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return [
    utf16.toString("latin1"),
    utf16.swap16().toString("latin1"),
    escaped,
    escaped.replace(/\\u[\da-f]{4}/g, (escape) => `\\u${escape.slice(2).toUpperCase()}`),
    ...(/^[\0-\xff]*$/.test(end) ? [end] : []),
  ];
}

/**
 * The part of the secret's base64 that stays the same whatever stands around it, if the number of bytes before
 * it leaves this remainder when divided by three.
 */
function base64Inside(secret: string, before: number): string {
  const bits = (before + secret.length) * 8;
  const text = Buffer.from("\0".repeat(before) + secret, "latin1").toString("base64");
  return text.slice(Math.ceil((before * 8) / 6), Math.floor(bits / 6));
}
