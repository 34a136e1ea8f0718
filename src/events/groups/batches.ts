/** Does some work, such as what shares a transaction. Each piece of it has a result of its own. */
export type DoTogether<Piece, Result> = (
  pieces: readonly Piece[],
) => Promise<readonly PromiseSettledResult<Result>[]>;

interface Waiting<Piece, Result> {
  readonly piece: Piece;
  readonly ended: PromiseWithResolvers<Result>;
}

/** One batch must not hold the lock of what it writes for long. */
const mostTogether = 64;

/** Does pieces of one name one batch at a time. What comes while a batch runs goes with the next one, without a timer. */
export function inBatches<Piece, Result>(doTogether: DoTogether<Piece, Result>) {
  const lines = new Map<string, Waiting<Piece, Result>[]>();

  async function goOn(name: string, line: Waiting<Piece, Result>[]): Promise<void> {
    while (line.length > 0) {
      const batch = line.splice(0, mostTogether);
      try {
        const results = await doTogether(batch.map(({ piece }) => piece));
        for (const [i, result] of results.entries()) {
          if (result.status === "fulfilled") batch[i]?.ended.resolve(result.value);
          else batch[i]?.ended.reject(result.reason);
        }
      } catch (error) {
        for (const { ended } of batch) ended.reject(error);
      }
    }
    lines.delete(name);
  }

  return (name: string, piece: Piece): Promise<Result> => {
    const ended = Promise.withResolvers<Result>();
    const line = lines.get(name);
    if (line !== undefined) line.push({ piece, ended });
    else {
      const begun = [{ piece, ended }];
      lines.set(name, begun);
      void goOn(name, begun);
    }
    return ended.promise;
  };
}
