/** Runs tasks, at most `total` at once and at most `perKey` of one key; the others wait in order. */
export function createKeyedLimit(total: number, perKey: number) {
  const waiting: { key: string; start: () => void }[] = [];
  const running = new Map<string, number>();
  let runningInAll = 0;

  function startWhatMay() {
    for (let i = 0; i < waiting.length && runningInAll < total;) {
      const next = waiting[i]!;
      const ofKey = running.get(next.key) ?? 0;
      // A key at its limit is passed over, so that one slow host does not hold up all behind it.
      if (ofKey >= perKey) {
        i++;
        continue;
      }
      waiting.splice(i, 1);
      running.set(next.key, ofKey + 1);
      runningInAll++;
      next.start();
    }
  }

  function end(key: string) {
    const left = running.get(key)! - 1;
    if (left === 0) running.delete(key);
    else running.set(key, left);
    runningInAll--;
    startWhatMay();
  }

  return async function run<T>(key: string, task: () => Promise<T>): Promise<T> {
    await new Promise<void>((start) => {
      waiting.push({ key, start });
      startWhatMay();
    });
    try {
      return await task();
    } finally {
      end(key);
    }
  };
}
