import type { Log } from "#src/platform/log.ts";
import type { Connection } from "./connection.ts";
import { ConnectionLost } from "./errors.ts";

/** Is notified of changes, such as `key/<org>/<id>`: whatever is remembered of it is out of date. */
export interface Listener {
  /** Called for a change of this process before its caller is answered; for others, as soon as Postgres reports it. */
  notified(what: string): void;
  /** True: from here on no change is missed, though earlier ones may have been. False: no notification arrives. */
  listening(isListening: boolean): void;
}

/** The listening connection. */
export interface Notifications {
  notify(what: string): void;
  /** Starts to listen. Settles when the first attempt has succeeded or failed; it goes on trying by itself. */
  listen(listener: Listener): Promise<void>;
  close(): Promise<void>;
}

const heartbeatMs = 1_000;
/** A connection that does not answer a heartbeat for this long is dead. */
const answerMs = 2_000;
const pauseMs = 250;

/**
 * Keeps one connection of its own on the channel. Postgres keeps no notification for a session that is away, so
 * listeners learn by `listening` that they may have missed some.
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

/** Waits; ends early, and without an error, when the signal aborts. */
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
