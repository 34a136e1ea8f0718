const markBytes = 8;
const maxMarks = 10_000;

/** Marks of items by which they are known again, in the order in which they were added. */
export class Marks {
  readonly #marks: Set<string>;

  /** `text` is what `toString` gave. */
  constructor(text = "") {
    const bytes = Buffer.from(text, "base64");
    const count = Math.floor(bytes.length / markBytes);
    this.#marks = new Set(
      Array.from({ length: count }, (_, i) => bytes.toString("latin1", i * markBytes, (i + 1) * markBytes)),
    );
  }

  get size(): number {
    return this.#marks.size;
  }

  /** `key` is a digest. */
  has(key: Buffer): boolean {
    return this.#marks.has(markOf(key));
  }

  add(key: Buffer): void {
    this.#marks.add(markOf(key));
  }

  /** The newest of them, as text. */
  toString(): string {
    return Buffer.from([...this.#marks].slice(-maxMarks).join(""), "latin1").toString("base64");
  }
}

function markOf(key: Buffer): string {
  return key.toString("latin1", 0, markBytes);
}
