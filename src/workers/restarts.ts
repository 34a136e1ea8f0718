/** How a worker lived. */
export interface Life {
  /** Whether it got as far as to take connections. */
  readonly listened: boolean;
  readonly livedMs: number;
}

/** A worker that lived this long has proved that it can. */
const provenMs = 10_000;
const longestPauseMs = 10_000;
/** In a row, with no other worker that serves: the next ones would fail as well. */
export const mostFailedStarts = 5;

/** How many workers in a row have failed early, after the end of this one. */
export function failuresAfter(before: number, { listened, livedMs }: Life): number {
  return listened && livedMs >= provenMs ? 0 : before + 1;
}

/**
 * How long to wait before the next worker is started. The first one is started at once: a worker that ended by itself
 * has taken a part of the service with it. Further ones wait longer each, so that starting does not take the processor
 * from the workers that serve.
 */
export function pauseBefore(failures: number): number {
  return failures <= 1 ? 0 : Math.min(250 * 2 ** (failures - 2), longestPauseMs);
}
