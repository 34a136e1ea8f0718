import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import { untilOneWaits } from "../support/locks.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

let serial = 0;

/** A connection of its own, whose service answers well. */
async function connect() {
  upstream.answer({});
  const slug = `custom:replaced-${serial++}`;
  const put = async (path: string) =>
    service.org.client.connections.upsertServiceConnection({
      serviceSlug: slug,
      baseUrl: upstream.url + path,
      apiKey: "k",
    });
  const { connection } = await put("/old");
  return { id: connection!.id, slug, replace: () => put("/new") };
}

async function lastHealthyAt(id: string) {
  const { connection } = await service.org.client.connections.getConnection({ id });
  return connection!.lastHealthyAt;
}

const client = () => service.org.client.connections;

/** What asks the service, and notes that it answered well. */
const askings: [string, (asked: { id: string; slug: string }) => Promise<unknown>][] = [
  ["a test", ({ id }) => client().testConnection({ id })],
  // A read writes first what calls noted.
  [
    "a call",
    async ({ id, slug }) => {
      await client().callService({ service: slug, method: "GET", path: "/" });
      await lastHealthyAt(id);
    },
  ],
  ["a sweep", () => service.app.loops.health.runOnce()],
];

describe.each(askings)("%s", (_, ask) => {
  test("says that the connection is healthy while its base URL is what was asked", async () => {
    const connection = await connect();
    await ask(connection);
    expect(await lastHealthyAt(connection.id)).toBeDefined();
  });

  test("says nothing of a base URL that replaced it before it answered", async () => {
    const connection = await connect();
    upstream.answer(async ({ url }) => {
      if (url.startsWith("/old")) await connection.replace();
      return {};
    });
    await ask(connection);
    expect(await lastHealthyAt(connection.id)).toBeUndefined();
  });

  test("says nothing of a base URL whose change it has to wait for", async () => {
    const connection = await connect();
    const { id } = connection;
    await using holder = openConnection(service.postgres.url, {});
    upstream.answer(async ({ url }) => {
      if (url.startsWith("/old")) {
        // As an upsert does, which is not committed yet.
        await holder.run("begin");
        await holder.run("update connections set base_url = base_url || '/new' where id = $1", [id]);
        await holder.run("update connection_health set next_due_at = now() where connection_id = $1", [id]);
      }
      return {};
    });
    const asking = ask(connection);
    await untilOneWaits(service.postgres);
    await holder.run("commit");
    await asking;
    expect(await lastHealthyAt(id)).toBeUndefined();
  });
});

test("the event of a test says which base URL was tested", async () => {
  const { id, replace } = await connect();
  upstream.answer(async () => {
    await replace();
    return {};
  });
  await client().testConnection({ id });
  const { events } = await service.org.client.audit.listAuditEvents({
    target: id,
    action: "connection.test",
  });
  expect(events.map(({ details }) => details)).toMatchObject([{ ok: true, baseUrl: `${upstream.url}/old` }]);
});
