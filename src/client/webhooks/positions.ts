/**
 * Keeps how far each log was handed over. With one in a database that hands over within its transaction, an event is
 * handed over once, whenever a process dies; `Tx` is that transaction.
 */
export interface PositionStore<Tx> {
  /** The number of the last event of the log that was handed over; undefined if none was. */
  read(log: string): Promise<number | undefined>;
  /**
   * Hands over and moves from `from` to `to`, both or neither. False, and nothing is handed over, if the position is no
   * longer `from`: another process was faster.
   */
  advance(
    log: string,
    from: number | undefined,
    to: number,
    handOver: (tx: Tx) => Promise<void>,
  ): Promise<boolean>;
}

/** PositionStore of one process, which end with it: the next one begins with what comes first. */
export function memoryPositions(): PositionStore<undefined> {
  const positions = new Map<string, number>();
  return {
    read: async (log) => positions.get(log),
    async advance(log, from, to, handOver) {
      if (positions.get(log) !== from) return false;
      await handOver(undefined);
      positions.set(log, to);
      return true;
    },
  };
}
