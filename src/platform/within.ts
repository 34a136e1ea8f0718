/** What the work answers, if it does in time; else throws what `late` makes. The work goes on. */
export async function within<T>(milliseconds: number, work: Promise<T>, late: () => Error): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), milliseconds);
  return await Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
