import type { Transform } from "node:stream";
import type { Pieces } from "./pieces.ts";

/**
 * What comes out of the bytes, each piece counted before it is kept; undefined as soon as that is more than the limit of
 * the pieces. Throws the inflater's own error if the bytes are damaged.
 */
export async function inflate(
  inflater: Transform,
  bytes: Uint8Array,
  pieces: Pieces,
): Promise<Buffer | undefined> {
  inflater.end(bytes);
  for await (const piece of inflater as AsyncIterable<Buffer>) if (!pieces.add(piece)) return undefined;
  return pieces.whole();
}
