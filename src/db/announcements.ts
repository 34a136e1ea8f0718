import type { Log } from "#src/platform/log.ts";
import type { Connection } from "./connection.ts";
import { ConnectionLost } from "./errors.ts";

/** Hears what changes announce, such as `key/<org>/<id>`: that what is remembered of something is old. */
export interface Listener {
  /** Of a change of this process, before its caller is answered; of others, as soon as Postgres says so. */
  announced(what: string): void;
  /** True: from here on nothing is missed, but what came before may have been. False: nothing is heard. */
  hearing(hears: boolean): void;
}

/** The listening connection. */
export interface Announcements {
  announce(what: string): void;
  /** Starts to listen. Settles when the first try has succeeded or failed; it goes on trying by itself. */
  hear(listener: Listener): Promise<void>;
  close(): Promise<void>;
}

const heartbeatMs = 1_000;
/** A connection that does not answer a heartbeat for so long is dead. */
const answerMs = 2_000;
const pauseMs = 250;

/**
 * Keeps one connection of its own on the channel, for Postgres tells each session only once: what was sent while
 * it was away is lost, which is what `hearing` is for.
 */
export function createAnnouncements(parts: {
  open: (onNotify: (channel: string, payload: string) => void) => Connection;
  log: Log;
}): Announcements {
  const { open, log } = parts;
  const listeners = new Set<Listener>();
  const closing = new AbortController();
  const tried = Promise.withResolvers<void>();
  let running: Promise<void> | undefined;
  let hears = false;

  function announce(what: string): void {
    for (const listener of listeners) listener.announced(what);
  }

  function setHears(next: boolean): void {
    if (hears === next) return;
    hears = next;
    for (const listener of listeners) listener.hearing(next);
  }

  async function listenOnce(): Promise<void> {
    await using connection = open((_channel, payload) => announce(payload));
    const ask = (statement: string) => withDeadline(connection, statement);
    await ask("listen patchbay");
    setHears(true);
    tried.resolve();
    while (!closing.signal.aborted) {
      await connection.orLost(pause(heartbeatMs, closing.signal));
      await ask("select 1");
    }
  }

  async function listen(): Promise<void> {
    let complained = false;
    while (!closing.signal.aborted) {
      try {
        await listenOnce();
      } catch (error) {
        if (!complained || hears)
          log.warn({ err: error }, "changes made elsewhere are not heard; listening again");
        complained = true;
      }
      setHears(false);
      tried.resolve();
      await pause(pauseMs, closing.signal);
    }
  }

  return {
    announce,
    hear(listener) {
      listeners.add(listener);
      running ??= listen();
      if (hears) listener.hearing(true);
      return tried.promise;
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}

async function withDeadline(connection: Connection, statement: string): Promise<void> {
  const deadline = setTimeout(() => {
    connection.lose(new ConnectionLost("the listening connection did not answer"));
  }, answerMs);
  try {
    await connection.run(statement);
  } finally {
    clearTimeout(deadline);
  }
}

/** Ends early, and without an error, when it is no longer worth waiting. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
