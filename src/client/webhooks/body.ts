/** A body is longer than is read of a stranger. */
export class BodyTooLong extends Error {
  override readonly name = "BodyTooLong";
}

/** All of a body in one, if it is no longer than that. */
export async function readBody(
  pieces: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const kept: Uint8Array[] = [];
  let length = 0;
  for await (const piece of pieces) {
    length += piece.length;
    if (length > maxBytes) throw new BodyTooLong(`the body must not exceed ${maxBytes} bytes`);
    kept.push(piece);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const piece of kept) {
    body.set(piece, at);
    at += piece.length;
  }
  return body;
}

/** The pieces of a stream, also where streams cannot be iterated. */
export async function* piecesOf(stream: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array, void> {
  if (stream === null) return;
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}
