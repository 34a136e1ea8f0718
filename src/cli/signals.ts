import { constants } from "node:os";

type StopSignal = "SIGTERM" | "SIGINT";

let handle: ((signal: StopSignal) => void) | undefined;

/**
 * Ends the process at the first signal, until `untilSignal` is called: there is nothing to finish yet. Open
 * transactions are rolled back, and the embedded Postgres ends with its pipe.
 */
export function listenForSignals(): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (handle === undefined) process.exit(128 + constants.signals[signal]);
      handle(signal);
      // A second signal ends the process at once, for an operator who cannot wait.
      handle = undefined;
    });
  }
}

/** From here on, the caller handles a stop: resolves with the first signal. */
export function untilSignal(): Promise<StopSignal> {
  return new Promise((resolve) => (handle = resolve));
}
