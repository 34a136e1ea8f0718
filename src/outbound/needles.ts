/**
 * Texts of ASCII that are looked for at once, in one pass that looks at few bytes: as in the search of Wu and Manber,
 * the last two of a window say how far ahead a text can begin at the earliest. The window is as long as the shortest
 * text, which has at least two bytes.
 *
 * A class, as code that is new for each search would hardly be optimized.
 */
export class Needles {
  /** The length of the longest. */
  readonly longest: number;
  readonly #texts: readonly string[];
  readonly #window: number;
  /** By pair: how far it is at least from where it stands in a text to the end of the window. */
  readonly #steps: Uint8Array;

  constructor(texts: readonly string[]) {
    const lengths = texts.map(({ length }) => length);
    const window = Math.min(255, ...lengths);
    const steps = Buffer.alloc(4096, window - 1);
    // The nearest to the end of the window is the last one to be written.
    for (let i = 1; i < window; i++) {
      for (const text of texts) steps[pairOf(text.charCodeAt(i - 1), text.charCodeAt(i))] = window - 1 - i;
    }
    this.longest = Math.max(...lengths);
    this.#texts = texts;
    this.#window = window;
    this.#steps = steps;
  }

  /** Whether one of them is in this part of the text. */
  areIn(text: Buffer, from: number, to: number): boolean {
    const window = this.#window;
    const steps = this.#steps;
    let last = from + window - 1;
    while (last < to) {
      const step = steps[pairOf(text[last - 1]!, text[last]!)]!;
      if (step === 0 && this.#beginsOne(text, last - window + 1, to)) return true;
      last += step || 1;
    }
    return false;
  }

  /** How many bytes at the end of the text are the beginning of one, if it is at least this long; 0 for none. */
  beginningAtEnd(text: Buffer, shortest: number): number {
    const end = text.toString("latin1", Math.max(0, text.length - this.longest + 1));
    let longest = 0;
    for (const one of this.#texts) {
      const start = one.slice(0, shortest);
      for (let at = end.indexOf(start); at !== -1; at = end.indexOf(start, at + 1)) {
        const length = end.length - at;
        if (length < one.length && one.startsWith(end.slice(at))) longest = Math.max(longest, length);
      }
    }
    return longest;
  }

  #beginsOne(text: Buffer, from: number, to: number): boolean {
    return this.#texts.some((one) => begins(text, from, to, one));
  }
}

/** Some pairs share a number, which only makes a step shorter. */
function pairOf(first: number, second: number): number {
  return (first << 4) ^ second;
}

function begins(text: Buffer, from: number, to: number, needle: string): boolean {
  if (from + needle.length > to) return false;
  for (let i = 0; i < needle.length; i++) {
    if (text[from + i] !== needle.charCodeAt(i)) return false;
  }
  return true;
}
