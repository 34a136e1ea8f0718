import type { Log } from "#src/platform/log.ts";
import type { Connection } from "./connection.ts";
import { ConnectionLost } from "./errors.ts";

/** Is notified of changes, such as `key/<org>/<id>`: that what is remembered of something is old. */
export interface Listener {
  /** Of a change of this process, before its caller is answered; of others, as soon as Postgres says so. */
  notified(what: string): void;
  /** True: from here on nothing is missed, but what came before may have been. False: nothing arrives. */
  listening(isListening: boolean): void;
}

/** The listening connection. */
export interface Notifications {
  notify(what: string): void;
  /** Starts to listen. Settles when the first try has succeeded or failed; it goes on trying by itself. */
  listen(listener: Listener): Promise<void>;
  close(): Promise<void>;
}

const heartbeatMs = 1_000;
/** A connection that does not answer a heartbeat for this long is dead. */
const answerMs = 2_000;
const pauseMs = 250;

/**
 * Keeps one connection of its own on the channel, for Postgres tells each session only once: what was sent while
 * it was away is lost, which is what `listening` is for.
 */
export function createNotifications(parts: {
  open: (onNotify: (channel: string, payload: string) => void) => Connection;
  /** Called whenever the server has answered on this connection. */
  answered: () => void;
  log: Log;
}): Notifications {
  const { open, answered, log } = parts;
  const listeners = new Set<Listener>();
  const closing = new AbortController();
  const tried = Promise.withResolvers<void>();
  let running: Promise<void> | undefined;
  let isListening = false;

  function notify(what: string): void {
    for (const listener of listeners) listener.notified(what);
  }

  function setListening(next: boolean): void {
    if (isListening === next) return;
    isListening = next;
    for (const listener of listeners) listener.listening(next);
  }

  async function listenOnce(): Promise<void> {
    await using connection = open((_channel, payload) => notify(payload));
    const ask = async (statement: string) => {
      await withDeadline(connection, statement);
      answered();
    };
    await ask("listen patchbay");
    setListening(true);
    tried.resolve();
    while (!closing.signal.aborted) {
      await connection.orLost(pause(heartbeatMs, closing.signal));
      await ask("select 1");
    }
  }

  async function keepListening(): Promise<void> {
    let complained = false;
    while (!closing.signal.aborted) {
      try {
        await listenOnce();
      } catch (error) {
        if (!complained || isListening)
          log.warn({ err: error }, "notifications of changes made elsewhere do not arrive; listening again");
        complained = true;
      }
      setListening(false);
      tried.resolve();
      await pause(pauseMs, closing.signal);
    }
  }

  return {
    notify,
    listen(listener) {
      listeners.add(listener);
      running ??= keepListening();
      if (isListening) listener.listening(true);
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
