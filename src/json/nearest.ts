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
function likely(wanted: string, candidates: Iterable<string>, bound: number): string[] {
  const letters = lettersOf(wanted);
  const found: { readonly candidate: string; readonly distance: number }[] = [];
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - wanted.length) >= bound) continue;
    const distance = letterDistance(wanted.length, letters, candidate.toLowerCase());
    if (distance < bound) found.push({ candidate, distance });
  }
  // In their own order as long as all are compared: of equals, the first is taken.
  const most = found.length > maxCompared ? found.sort((a, b) => a.distance - b.distance) : found;
  return most.slice(0, maxCompared).map(({ candidate }) => candidate);
}

/** How often each letter occurs; those beyond ASCII share the places of others, which only makes words more alike. */
function lettersOf(word: string): Int8Array {
  const letters = new Int8Array(128);
  for (let i = 0; i < word.length; i++) letters[word.charCodeAt(i) & 127]! += 1;
  return letters;
}

/** At most the edit distance. */
function letterDistance(length: number, letters: Int8Array, other: string): number {
  const left = letters.slice();
  let common = 0;
  for (let i = 0; i < other.length; i++) if (left[other.charCodeAt(i) & 127]!-- > 0) common += 1;
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
