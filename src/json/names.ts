/** The names in an object. */
export class Names {
  /** Of a small object, as most are: quicker than a set of its own. */
  #few: string[] = [];
  /** Full ones first. One set of all names would hold the event loop whenever it grows: a body may have 700,000. */
  readonly #sets: Set<string>[] = [];

  /** Adds the name; false if it is there already. */
  add(name: string): boolean {
    if (this.#few.includes(name) || this.#sets.some((set) => set.has(name))) return false;
    if (this.#few.length === mostFew) {
      this.#addToSets(this.#few);
      this.#few = [];
    }
    this.#few.push(name);
    return true;
  }

  #addToSets(names: readonly string[]): void {
    let last = this.#sets.at(-1);
    if (last === undefined || last.size >= maxSize) {
      last = new Set();
      this.#sets.push(last);
    }
    for (const name of names) last.add(name);
  }
}

const mostFew = 8;
const maxSize = 50_000;
