/** Takes a member out; a second time does nothing. Answers whether it was in. */
type Leave = () => boolean;

interface Link<T> {
  readonly member: T;
  before: Link<T> | undefined;
  after: Link<T> | undefined;
}

/**
 * What is on its way at the moment, in the order in which it came: for a set that changes with each call.
 *
 * A `Set` would do, were it not for V8: after some deletions it moves to a new table, and the one that it leaves points
 * to the next and holds what was in it then. Once such a table is old, all that follow it live until the next
 * collection of all memory, and so does what was in them, which the small collections copy again and again.
 */
export class Members<T> implements Iterable<T> {
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#first?.member;
  }

  /** Adds it as the last one. */
  add(member: T): Leave {
    const link: Link<T> = { member, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = link;
    else this.#last.after = link;
    this.#last = link;
    this.#size += 1;
    let isIn = true;
    return () => {
      const wasIn = isIn;
      if (wasIn) this.#remove(link);
      isIn = false;
      return wasIn;
    };
  }

  #remove(link: Link<T>): void {
    const { before, after } = link;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    // It may be old, and would keep its neighbours alive as a table does.
    link.before = undefined;
    link.after = undefined;
    this.#size -= 1;
  }

  /** Those that are there now: some may leave meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    const members: T[] = [];
    for (let link = this.#first; link !== undefined; link = link.after) members.push(link.member);
    yield* members;
  }
}
