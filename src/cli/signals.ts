import { constants } from "node:os";

type StopSignal = "SIGTERM" | "SIGINT";

let handle: ((signal: StopSignal) => void) | undefined;

/**
 * Ends the process at the first signal, until one is handled in order: there is nothing to finish yet. What runs in
 * the database is rolled back, and the embedded Postgres ends with its pipe.
 */
export function listenForSignals(): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (handle === undefined) process.exit(128 + constants.signals[signal]);
      handle(signal);
      // A second one ends the process at once, for whoever cannot wait.
      handle = undefined;
    });
  }
}

/** From here on, a stop is for the caller to handle: resolves with the first signal. */
export function untilSignal(): Promise<StopSignal> {
  return new Promise((resolve) => (handle = resolve));
}
