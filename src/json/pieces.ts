/** Longer texts and bytes are encoded in pieces of about this length, each of which takes a millisecond or two. */
export const longLength = 256 * 1024;

/** The text as it is. */
export function* piecesOfText(text: string): Generator<Buffer> {
  for (const piece of cut(text)) yield Buffer.from(piece);
}

/** The text as a JSON string. */
export function* piecesOfString(text: string): Generator<Buffer> {
  yield quote;
  for (const piece of cut(text)) yield Buffer.from(JSON.stringify(piece).slice(1, -1));
  yield quote;
}

/** The bytes in base64, as a JSON string. */
export function* piecesOfBytes({ buffer, byteOffset, length }: Uint8Array): Generator<Buffer> {
  const bytes = Buffer.from(buffer, byteOffset, length);
  // A multiple of three, so that only the last piece is padded.
  const step = 3 * longLength;
  yield quote;
  for (let at = 0; at < length; at += step) {
    yield Buffer.from(bytes.toString("base64", at, Math.min(at + step, length)), "latin1");
  }
  yield quote;
}

const quote = Buffer.from('"');

function* cut(text: string): Generator<string> {
  for (let at = 0; at < text.length;) {
    let end = at + longLength;
    // Halves of a surrogate pair would each be written as an escape.
    if (isHighSurrogate(text.charCodeAt(end - 1))) end--;
    yield text.slice(at, end);
    at = end;
  }
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
