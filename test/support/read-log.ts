import type { RootKey } from "#src/crypto/root-key.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { openLogs } from "./open-logs.ts";
import type { TestService } from "./service.ts";

/** Reads the logs of a service from its database. */
export interface LogReader extends AsyncDisposable {
  /** All events of the log that belongs to the organisation the service starts with. */
  read(log: string): Promise<readonly LoggedEvent[]>;
}

/** Opens the logs of a service that was started with the root key. */
export async function readLogsOf(service: TestService, rootKey: RootKey): Promise<LogReader> {
  const { url } = service.postgres;
  const opened = await openLogs({ url, rootKey, now: service.clock.now });
  const all = { after: 0, limit: 1_000, maxBytes: 100_000_000 };
  return {
    read: (name) => opened.eventLog.read(service.org.orgId, name, all),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}
