import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Accepted, Arrival } from "#src/eventlog/intake.ts";
import { arrival } from "../support/event-log.ts";
import { openLogs } from "../support/open-logs.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type TestService, type TestServiceOptions } from "../support/service.ts";

/** The service, and another replica that takes events in. */
export interface TestEvents extends AsyncDisposable {
  readonly service: TestService;
  readonly eventLog: EventLog;
  /** Makes a channel of the service's first organisation. */
  newChannel(): Promise<string>;
  send(log: string, ...parts: Partial<Arrival>[]): Promise<readonly Accepted[]>;
  /** Starts another replica of the service, with a clock of its own. */
  replica(): Promise<TestService>;
}

/** Starts both on one database. */
export async function startEvents(options: TestServiceOptions = {}): Promise<TestEvents> {
  const postgres = await createTestDatabase();
  const rootKey = localRootKey(newRootKeyText());
  const service = await startService({ ...options, postgres, rootKey });
  const opened = await openLogs({ url: postgres.url, rootKey, now: service.clock.now });
  const { eventLog } = opened;
  const { orgId, client } = service.org;
  const replicas = [service];
  return {
    ...{ service, eventLog },
    async newChannel() {
      const { channel } = await client.channels.createChannel({
        name: "orders",
        source: { case: "cloudEvents", value: {} },
      });
      return channel?.id ?? "";
    },
    send: (log, ...parts) =>
      eventLog.accept(
        orgId,
        parts.map((part, index) => arrival(log, { id: String(index), ...part })),
        undefined,
        // A busy machine may take longer than a sender would wait.
        60_000,
      ),
    async replica() {
      const replica = await startService({ ...options, postgres, rootKey });
      replicas.push(replica);
      return replica;
    },
    async [Symbol.asyncDispose]() {
      for (const replica of replicas) await replica[Symbol.asyncDispose]();
      await opened[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
    },
  };
}
