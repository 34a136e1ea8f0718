/** The names in an object. */
export class Names {
  /** Full ones first. One set of all names would hold the event loop whenever it grows: a body may have 700,000. */
  readonly #sets: Set<string>[] = [];

  /** Adds the name; false if it is there already. */
  add(name: string): boolean {
    if (this.#sets.some((set) => set.has(name))) return false;
    const last = this.#sets.at(-1);
    if (last !== undefined && last.size < maxSize) last.add(name);
    else this.#sets.push(new Set([name]));
    return true;
  }
}

const maxSize = 50_000;
