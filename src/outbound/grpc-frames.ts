import { Pieces } from "#src/platform/pieces.ts";
import type { Hold } from "./body.ts";

const prefixBytes = 5;
const none = Buffer.alloc(0);

/** A message of gRPC, as it is sent. */
export function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** What is wrong with an answer's framing; the text follows the host's name. */
export class FrameFault extends Error {}

/** Puts one message at a time together from the pieces in which it comes. */
export class FrameReader {
  #prefix: Buffer = none;
  #pieces: Pieces | undefined;
  #missing = 0;
  readonly #hold: Hold;

  constructor(hold: Hold) {
    this.#hold = hold;
  }

  /** Takes a piece. The message, as soon as all of it is there; throws `FrameFault` for what is none, or has more behind it. */
  add(piece: Buffer, maxBytes: number): Buffer | undefined {
    const taken = Math.min(prefixBytes - this.#prefix.length, piece.length);
    if (taken > 0) this.#prefix = Buffer.concat([this.#prefix, piece.subarray(0, taken)]);
    if (this.#prefix.length < prefixBytes) return undefined;
    const pieces = (this.#pieces ??= this.#begin(maxBytes));
    const rest = piece.subarray(taken);
    if (rest.length > this.#missing) throw new FrameFault("answered what it was not asked");
    pieces.add(rest);
    this.#missing -= rest.length;
    if (this.#missing > 0) return undefined;
    this.#prefix = none;
    this.#pieces = undefined;
    return pieces.whole();
  }

  #begin(maxBytes: number): Pieces {
    // No coding is named in what was sent.
    if (this.#prefix[0] !== 0) throw new FrameFault("answered in a compression that it was not asked for");
    this.#missing = this.#prefix.readUInt32BE(1);
    if (this.#missing > maxBytes) throw new FrameFault("answered with more than is read of it");
    return new Pieces(this.#missing, (bytes) => this.#hold(2 * bytes));
  }
}
