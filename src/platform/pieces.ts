/** Pieces of fewer bytes are copied together: each by itself takes some 200 bytes beside those in it. */
const smallBytes = 4 * 1024;
const pageBytes = 16 * 1024;

/** Gathers bytes that come in pieces, of any size, and takes about as much memory as there are bytes. */
export class Pieces {
  readonly #limitBytes: number;
  readonly #hold: (bytes: number) => void;
  readonly #pieces: Buffer[] = [];
  #size = 0;
  #page = Buffer.of();
  /** What of the page is in `#pieces`, and what is written. */
  #taken = 0;
  #written = 0;

  /** `hold` is told of bytes before they are kept, and may throw. */
  constructor(limitBytes: number, hold: (bytes: number) => void) {
    this.#limitBytes = limitBytes;
    this.#hold = hold;
  }

  /** Takes one more; false if that is more than the limit. */
  add(piece: Buffer): boolean {
    if (this.#size + piece.length > this.#limitBytes) return false;
    if (piece.length === 0) return true;
    this.#hold(piece.length);
    // Most come in one, which is kept as it is.
    if (this.#size === 0 || piece.length >= smallBytes) {
      this.#takePage();
      this.#pieces.push(piece);
    } else {
      this.#write(piece);
    }
    this.#size += piece.length;
    return true;
  }

  whole(): Buffer {
    this.#takePage();
    const [first] = this.#pieces;
    return this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces, this.#size);
  }

  #write(piece: Buffer): void {
    if (this.#written + piece.length > this.#page.length) {
      this.#takePage();
      this.#page = Buffer.allocUnsafeSlow(pageBytes);
      this.#taken = 0;
      this.#written = 0;
    }
    this.#written += piece.copy(this.#page, this.#written);
  }

  #takePage(): void {
    if (this.#written > this.#taken) this.#pieces.push(this.#page.subarray(this.#taken, this.#written));
    this.#taken = this.#written;
  }
}
