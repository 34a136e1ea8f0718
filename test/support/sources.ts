import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { openLogs } from "./open-logs.ts";
import { createTestDatabase } from "./postgres.ts";
import { startService, type TestService } from "./service.ts";
import type { Answer, Asked } from "./upstream.ts";

/** Replicas of the service whose logs can be looked into. */
export interface SourceServices extends AsyncDisposable {
  readonly one: TestService;
  readonly other: TestService;
  eventsOf(log: string): Promise<readonly LoggedEvent[]>;
  idsOf(log: string): Promise<string[]>;
  /** What the service says of a channel's gaps. */
  gapsOf(channelId: string): Promise<readonly { why: string; from: string | null; to: string | null }[]>;
  /** Makes a connection, and a channel that reads through it. */
  poll(baseUrl: string, config?: Record<string, unknown>): Promise<string>;
  stream(baseUrl: string, config?: Record<string, unknown>): Promise<string>;
  /** Ends leases as half a minute does: they go by the clock of the database, which no test can turn. */
  endLeases(): Promise<void>;
  channel(id: string): Promise<Record<string, any>>; // oxlint-disable-line typescript/no-explicit-any -- tests look into answers
}

/** Starts two replicas on one database. */
export async function startSourceServices(rootKey = newRootKeyText()): Promise<SourceServices> {
  const postgres = await createTestDatabase();
  const [one, other] = [await startService({ postgres, rootKey }), await startService({ postgres, rootKey })];
  const opened = await openLogs({
    ...{ url: postgres.url, now: one.clock.now },
    rootKey: localRootKey(rootKey),
  });
  const { orgId } = one.org;
  let connections = 0;
  const eventsOf = (of: string) =>
    opened.eventLog.read(orgId, of, { after: 0, limit: 10_000, maxBytes: 1 << 26 });

  async function make(
    kind: "poll" | "sse",
    baseUrl: string,
    config: Record<string, unknown>,
  ): Promise<string> {
    const serviceSlug = `custom:s${connections++}`;
    await one.org.client.connections.upsertServiceConnection({
      serviceSlug,
      baseUrl,
      apiKey: "key-of-the-source",
    });
    const made = await one.org.rest("POST", "/api/event-channels", {
      name: serviceSlug,
      [kind]: { connection: serviceSlug, ...config },
    });
    if (made.status !== 201) throw new Error(JSON.stringify(made.body));
    return made.body.data.channel.id as string;
  }

  return {
    ...{ one, other, eventsOf },
    idsOf: async (log) => (await eventsOf(log)).map(({ id }) => id),
    async gapsOf(channelId) {
      const told = await eventsOf("service");
      return told
        .filter(({ type, subject }) => type === "channel.gap" && subject === channelId)
        .map(
          ({ data }) => JSON.parse(String(data)) as { why: string; from: string | null; to: string | null },
        );
    },
    poll: (baseUrl, config = {}) => make("poll", baseUrl, config),
    stream: (baseUrl, config = {}) => make("sse", baseUrl, config),
    async endLeases() {
      await postgres.asOwner(
        "update channel_sources set lease_until = lease_until - interval '31 seconds' where lease is not null",
      );
    },
    async channel(id) {
      return (await one.org.rest("GET", `/api/event-channels/${id}`)).body.data.channel;
    },
    async [Symbol.asyncDispose]() {
      await one[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
      await opened[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
    },
  };
}

/** Reads what is due after the time. */
export async function readLater(service: TestService, seconds: number): Promise<void> {
  service.clock.advance(seconds * 1_000);
  await service.app.loops.sources.runOnce();
}

/** The answer with a list of items of these ids. */
export function list(...ids: (number | string)[]): Answer {
  return { body: JSON.stringify(ids.map((id) => ({ id }))) };
}

/** A parameter that a list was asked with. */
export function parameterOf({ url }: Asked, name: string): string | null {
  return new URL(url, "http://x").searchParams.get(name);
}

/** A stream that a reader has open. */
export interface OpenedStream {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly response: ServerResponse;
}

/** A server of event streams, which a test writes by hand. */
export interface StreamServer extends AsyncDisposable {
  readonly url: string;
  /** All that were opened so far. */
  readonly opened: readonly OpenedStream[];
  /** Resolves with the stream of this index, once it was opened. */
  stream(index: number): Promise<OpenedStream>;
  /** How it answers from now on; undefined for a stream that stays open. */
  answer(status: number | undefined, headers?: Record<string, string>): void;
}

/** Starts a server whose streams stay open. */
export async function startStreamServer(): Promise<StreamServer> {
  const opened: OpenedStream[] = [];
  let status: number | undefined;
  let more: Record<string, string> = {};
  const server = createServer((request, response) => {
    if (status === undefined) response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    else response.writeHead(status, more).end();
    opened.push({ url: request.url ?? "", headers: request.headers, response });
    server.emit("opened");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    opened,
    async stream(index) {
      for (;;) {
        const found = opened[index];
        if (found !== undefined) return found;
        await once(server, "opened");
      }
    },
    answer(next, headers = {}) {
      status = next;
      more = headers;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
