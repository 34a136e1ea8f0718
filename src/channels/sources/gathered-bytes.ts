const firstCapacity = 1024;

/** Bytes put behind each other, as many as the limit allows. Takes memory for what is there, however small the pieces. */
export class GatheredBytes {
  readonly #most: number;
  #bytes = Buffer.allocUnsafe(firstCapacity);
  #length = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get length(): number {
    return this.#length;
  }

  /** False if there is no room: then nothing is added. */
  add(piece: Buffer): boolean {
    const length = this.#length + piece.length;
    if (length > this.#most) return false;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.min(Math.max(length, 2 * this.#bytes.length), this.#most));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    piece.copy(this.#bytes, this.#length);
    this.#length = length;
    return true;
  }

  /** What was gathered, as a copy, and begins anew. */
  take(): Buffer {
    const taken = Buffer.from(this.#bytes.subarray(0, this.#length));
    this.clear();
    return taken;
  }

  clear(): void {
    this.#length = 0;
    if (this.#bytes.length > firstCapacity) this.#bytes = Buffer.allocUnsafe(firstCapacity);
  }
}
