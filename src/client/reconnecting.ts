import { Code, ConnectError } from "@connectrpc/connect";
import { InvalidApiKey } from "./authorization.ts";

/** There is a message at least each 15 seconds; without one for this time, the connection is dead. */
const silenceMs = 45_000;
const firstPauseMs = 100;
const longestPauseMs = 30_000;

/** What another attempt may mend. */
const passing: readonly Code[] = [
  Code.Unavailable,
  Code.ResourceExhausted,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.Canceled,
  Code.Internal,
  Code.Unknown,
];

/** A stream that is opened again and again, each time where the last one ended. */
export interface Reopened<Message, Item> {
  readonly open: (signal: AbortSignal) => AsyncIterable<Message>;
  /** What comes of a message. When it has ended, the message was handled. */
  readonly handle: (message: Message, signal: AbortSignal) => AsyncIterable<Item>;
}

/**
 * What comes of the messages, until the signal aborts. Throws what refuses the stream before its first message, unless
 * another attempt may mend it.
 */
export async function* reconnecting<Message, Item>(
  signal: AbortSignal | undefined,
  { open, handle }: Reopened<Message, Item>,
): AsyncGenerator<Item, void, undefined> {
  const isOver = () => signal?.aborted === true;
  let failures = 0;
  while (!isOver()) {
    const attempt = beginAttempt(signal);
    let heard = false;
    try {
      for await (const message of open(attempt.signal)) {
        heard = true;
        // However long it takes to be handled.
        attempt.pause();
        yield* handle(message, attempt.signal);
        failures = 0;
        attempt.goOn();
      }
    } catch (thrown) {
      if (isOver()) return;
      const isPassing = thrown instanceof ConnectError && passing.includes(thrown.code);
      if (!heard && (!isPassing || thrown.cause instanceof InvalidApiKey)) throw thrown;
    } finally {
      attempt.end();
    }
    await pause(Math.min(longestPauseMs, firstPauseMs * 2 ** failures), signal);
    failures += 1;
  }
}

/** One stream. Its signal aborts with the caller's, and when nothing was heard for too long. */
function beginAttempt(outer: AbortSignal | undefined) {
  const ending = new AbortController();
  const end = () => ending.abort();
  outer?.addEventListener("abort", end);
  let timer = setTimeout(end, silenceMs);
  return {
    signal: ending.signal,
    pause: () => clearTimeout(timer),
    goOn: () => (timer = setTimeout(end, silenceMs)),
    end() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", end);
      // Also for a caller that stopped in the middle.
      end();
    },
  };
}

/** Spread, or all followers would come back to a restarted Patchbay at the same instant. */
function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds * (0.5 + Math.random() / 2));
    signal?.addEventListener("abort", done);
    if (signal?.aborted === true) done();
  });
}
