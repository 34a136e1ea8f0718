/** What is under way by name, such as calls of an organisation. A name at zero takes no memory. */
export interface Tally {
  of(name: string): number;
  /** Negative for what has ended. */
  add(name: string, amount: number): void;
  entries(): Iterable<[name: string, sum: number]>;
}

export function createTally(): Tally {
  const sums = new Map<string, number>();
  const of = (name: string): number => sums.get(name) ?? 0;
  return {
    of,
    add(name, amount) {
      const sum = of(name) + amount;
      if (sum === 0) sums.delete(name);
      else sums.set(name, sum);
    },
    entries: () => sums.entries(),
  };
}
