/**
 * Does the work, unless the signal aborts before: then its reason is thrown, and nobody waits for the work any more. If
 * it has aborted, the work does not begin.
 */
export function orEnd<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const end = () => reject(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", end));
  });
}
