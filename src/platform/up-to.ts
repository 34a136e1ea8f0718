/**
 * The bound of a cache of at most so many things. By size and not by number: for a number, the memory of all of them
 * is taken at once, which each start and each idle service would pay for.
 */
export function upTo(most: number) {
  return { maxSize: most, sizeCalculation: () => 1 } as const;
}
