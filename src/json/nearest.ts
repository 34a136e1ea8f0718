// Suggestions are made for typing errors; longer words would cost an unauthenticated caller nothing and us much.
const maxLength = 100;

/** Comparing in full takes a hundred times as long as counting letters, and a service may have 5,000 operations. */
const maxCompared = 50;

/** The candidate that a typing error would turn into `word`, if there is one. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > maxLength) return undefined;
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let bound = Math.max(1, Math.ceil(word.length / 3)) + 1;
  for (const candidate of likely(wanted, candidates, bound)) {
    const distance = editDistance(wanted, candidate.toLowerCase(), bound);
    if (distance < bound) [best, bound] = [candidate, distance];
  }
  return best;
}

/** The candidates that have most letters in common with the word: to be near, they must. */
function likely(wanted: string, candidates: Iterable<string>, bound: number): readonly string[] {
  const letters = lettersOf(wanted);
  const left = new Int8Array(letters.length);
  const found: string[] = [];
  const byDistance = Array.from({ length: bound }, (): string[] => []);
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - wanted.length) >= bound) continue;
    left.set(letters);
    const distance = letterDistance(wanted.length, left, candidate.toLowerCase());
    if (distance >= bound) continue;
    found.push(candidate);
    byDistance[distance]?.push(candidate);
  }
  // In their own order as long as all are compared: of equals, the first is taken.
  return found.length > maxCompared ? byDistance.flat().slice(0, maxCompared) : found;
}

/** How often each letter occurs; those beyond ASCII share the places of others, which only makes words more alike. */
function lettersOf(word: string): Int8Array {
  const letters = new Int8Array(128);
  for (let i = 0; i < word.length; i++) letters[word.charCodeAt(i) & 127]! += 1;
  return letters;
}

/** At most the edit distance. Uses up the letters. */
function letterDistance(length: number, left: Int8Array, other: string): number {
  let common = 0;
  for (let i = 0; i < other.length; i++) {
    const letter = other.charCodeAt(i) & 127;
    const count = left[letter]!;
    if (count > 0) {
      left[letter] = count - 1;
      common += 1;
    }
  }
  return Math.max(length, other.length) - common;
}

function editDistance(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) >= bound) return bound;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    if (Math.min(...next) >= bound) return bound;
    row = next;
  }
  return row[b.length]!;
}
