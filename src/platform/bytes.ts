/** Bytes in pieces that follow each other. */
export type Pieced = readonly Uint8Array[];

/** How many bytes they are. */
export function lengthOf(pieces: Pieced): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

/** The same in one. */
export function whole(pieces: Pieced): Buffer {
  const [first] = pieces;
  // Not copied.
  if (first !== undefined && pieces.length === 1)
    return Buffer.from(first.buffer, first.byteOffset, first.length);
  return Buffer.concat(pieces);
}
