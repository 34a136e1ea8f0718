import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** A query of the driver, as far as a COPY needs it. */
export interface CopyQuery {
  resolve: (this: void, value: unknown) => void;
  reject: (this: void, why: unknown) => void;
  readable(): Promise<Readable>;
  writable(): Promise<Writable>;
}

/** How a COPY ended: how many rows it moved, or why it failed. */
type End = Promise<number>;

/** The rows that `COPY … TO STDOUT` sends, in pieces; fails if the statement does, even after its last row. */
export async function* rowsOf(query: CopyQuery, orLost: OrLost): AsyncGenerator<Buffer> {
  const end = endOf(query);
  const stream = await orLost(query.readable());
  // The driver leaves the stream open if the connection is lost in some ways.
  void orLost(end).catch((error: Error) => stream.destroy(error));
  for await (const piece of stream) yield piece as Buffer;
  await orLost(end);
}

/** Sends the pieces to `COPY … FROM STDIN`, and answers how many rows it took. */
export async function sendRows(
  query: CopyQuery,
  pieces: AsyncIterable<Buffer>,
  orLost: OrLost,
): Promise<number> {
  const end = endOf(query);
  const stream = await orLost(query.writable());
  // Either settles first: the driver forgets its stream once all is sent, and never ends it if Postgres then refuses.
  const sent = pipeline(pieces, stream);
  sent.catch(() => undefined);
  await Promise.race([sent, orLost(end)]);
  return await orLost(end);
}

type OrLost = <T>(work: Promise<T>) => Promise<T>;

/** The driver answers a COPY with its stream, and says a second time how it ended, which nothing else shows. */
function endOf(query: CopyQuery): End {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  promise.catch(() => undefined);
  const first = { resolve: query.resolve, reject: query.reject };
  let hasStream = false;
  query.resolve = (value) => {
    if (hasStream) resolve((value as { count: number }).count);
    hasStream = true;
    first.resolve(value);
  };
  query.reject = (why) => {
    reject(why);
    first.reject(why);
  };
  return promise;
}
