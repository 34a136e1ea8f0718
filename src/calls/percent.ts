import { atOnce, type LongWork } from "#src/platform/in-turns.ts";

/** The characters that stay as they are. */
export interface Kept {
  /** 1 at each of them. */
  readonly table: Uint8Array;
  /** Whether an escape that stands in the text already does. */
  readonly escapes: boolean;
}

const unreservedCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

/** RFC 3986, 2.3: of the others, each may be what joins two parts. */
export const unreserved: Kept = { table: tableOf(unreservedCharacters), escapes: false };

/** What RFC 6570 keeps in reserved expansion, but for what ends a parameter or a query, or is not allowed in one. */
export const reserved: Kept = {
  table: tableOf(`${unreservedCharacters}:/?@!$'()*,;=`),
  escapes: true,
};

/** What stands in quotes in a header, as browsers have it there: all but what would end the quotes or the header. */
export const quotable: Kept = {
  table: new Uint8Array(256)
    .fill(1)
    .map((one, byte) => (['"', "\r", "\n", "\0"].includes(String.fromCharCode(byte)) ? 0 : one)),
  escapes: false,
};

function tableOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const byte of Buffer.from(characters)) table[byte] = 1;
  return table;
}

/** The text with `%XX` for each other byte of its UTF-8, and the kept bytes as a character each. */
export function percentEncoded(text: string, kept: Kept = unreserved): string {
  return atOnce(percentEncoding(text, kept));
}

/** Takes a millisecond. */
const charactersPerTurn = 32 * 1024;

/** The same, of a text of any length. */
export function* percentEncoding(text: string, kept: Kept = unreserved): LongWork<string> {
  let written = "";
  for (let at = 0; at < text.length;) {
    if (at > 0) yield;
    const piece = pieceAt(text, at);
    written += pieceEncoded(piece, kept);
    at += piece.length;
  }
  return written;
}

/** Nothing that belongs together is cut: neither a surrogate pair nor an escape. */
function pieceAt(text: string, at: number): string {
  const piece = text.slice(at, at + charactersPerTurn);
  const isLast = at + piece.length === text.length;
  return isLast ? piece : piece.replace(/(?:[\ud800-\udbff]|%[0-9a-f]?)$/i, "");
}

const percent = 0x25;
const digits = Buffer.from("0123456789ABCDEF");

/** By bytes, since a replacement for each character takes forty times as long. */
function pieceEncoded(piece: string, { table, escapes }: Kept): string {
  const bytes = Buffer.from(piece);
  const written = Buffer.allocUnsafe(3 * bytes.length);
  let at = 0;
  let end = 0;
  for (const byte of bytes) {
    if (table[byte] === 1 || (escapes && byte === percent && isEscape(bytes, at))) {
      written[end++] = byte;
    } else {
      written[end++] = percent;
      written[end++] = digits.readUInt8(byte >> 4);
      written[end++] = digits.readUInt8(byte & 15);
    }
    at++;
  }
  return written.toString("latin1", 0, end);
}

function isEscape(bytes: Buffer, at: number): boolean {
  return /^%[0-9a-f]{2}$/i.test(bytes.toString("latin1", at, at + 3));
}
