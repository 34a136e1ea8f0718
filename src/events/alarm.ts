/** Wakes whoever waits. */
export interface Alarm {
  readonly ring: () => void;
  /** Until it rings, or the time is over. */
  rung(mostMs: number): Promise<void>;
}

/** An alarm that one waits for at a time. Rung while nobody waits, it does nothing. */
export function createAlarm(): Alarm {
  let wake = (): void => undefined;
  return {
    ring: () => wake(),
    rung: (mostMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, mostMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      }),
  };
}
