/** Bytes in pieces that follow each other. */
export type Pieced = readonly Uint8Array[];

/** How many bytes they are. */
export function lengthOf(pieces: Pieced): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

/** The same in one. */
export function whole(pieces: Pieced): Buffer {
  const [first] = pieces;
  return pieces.length === 1 && Buffer.isBuffer(first) ? first : Buffer.concat(pieces);
}
