import { createHmac, type KeyObject } from "node:crypto";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";

/** Takes about a millisecond. */
const turnBytes = 1024 * 1024;

/** The HMAC of the pieces one after the other. Of large ones it is made in turns with the rest of the event loop. */
export function hmacInTurns(
  hash: string,
  key: KeyObject | Buffer,
  pieces: readonly Buffer[],
): Promise<Buffer> {
  return inTurns(hmac(hash, key, pieces));
}

function* hmac(hash: string, key: KeyObject | Buffer, pieces: readonly Buffer[]): LongWork<Buffer> {
  const sum = createHmac(hash, key);
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += turnBytes) {
      if (at > 0) yield;
      sum.update(piece.subarray(at, at + turnBytes));
    }
  }
  return sum.digest();
}
