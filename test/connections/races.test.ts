import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { openConnection } from "#src/db/connection.ts";
import { untilOneWaits } from "../support/locks.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const baseUrl = "https://bank.example";

function upsert(slug: string, apiKey: string) {
  return service.org.client.connections.upsertServiceConnection({ serviceSlug: slug, baseUrl, apiKey });
}

interface Hashes {
  readonly before: string | null;
  readonly after: string | null;
}

async function chainOf(id: string): Promise<Hashes[]> {
  const { events } = await service.org.client.audit.listAuditEvents({ target: id });
  return events.toReversed().map((event) => event.details!["apiKeyHash"] as unknown as Hashes);
}

test("an upsert beside an update undoes none of it, and each records what the other left", async () => {
  for (let round = 0; round < 15; round++) {
    const slug = `custom:pair-${round}`;
    const { connection } = await upsert(slug, "first");
    const id = connection!.id;
    await Promise.all([
      upsert(slug, `upserted-${round}`),
      service.org.client.connections.updateConnection({ id, active: false, apiKey: `updated-${round}` }),
    ]);
    const { connection: after } = await service.org.client.connections.getConnection({ id });
    expect(after!.active).toBe(false);
    const chain = await chainOf(id);
    expect(chain.slice(1).map(({ before }) => before)).toStrictEqual(
      chain.slice(0, -1).map((one) => one.after),
    );
    const rows = await service.postgres.asOwner("select version from credentials where connection_id = $1", [
      id,
    ]);
    expect(rows[0]!["version"]).toBe(3);
  }
});

test("an upsert beside a connection that is made with its slug takes effect, whichever comes first", async () => {
  for (let round = 0; round < 15; round++) {
    const slug = `custom:made-${round}`;
    const made = { integration: slug, authMethod: "bearer", baseUrl, credentials: { token: "made" } };
    const [upserted, created] = await Promise.allSettled([
      upsert(slug, "upserted"),
      service.org.client.connections.createConnection({ ...made, serviceSlug: slug }),
    ]);
    expect(upserted.status).toBe("fulfilled");
    if (created.status === "rejected") expect(reasonOf(created.reason)).toBe("SLUG_TAKEN");
    const rows = await service.postgres.asOwner("select id from connections where slug = $1", [slug]);
    expect(rows).toHaveLength(1);
  }
});

test("an upsert beside a deletion leaves the one or the other, and never fails", async () => {
  for (let round = 0; round < 15; round++) {
    const slug = `custom:gone-${round}`;
    const { connection } = await upsert(slug, "first");
    const outcomes = await Promise.allSettled([
      upsert(slug, "one"),
      upsert(slug, "two"),
      service.org.client.connections.deleteConnection({ id: connection!.id }),
    ]);
    expect(outcomes.map(({ status }) => status)).toStrictEqual(["fulfilled", "fulfilled", "fulfilled"]);
    const rows = await service.postgres.asOwner("select id from connections where slug = $1", [slug]);
    expect(rows.length).toBeLessThanOrEqual(1);
  }
});

describe("a call beside changes of its connection", () => {
  const callers = 6;
  // Read in two statements, one call of ten went wrong.
  const callsOfEach = 100;

  /** Runs the change again and again until the callers are through; answers what their calls came to. */
  async function callBeside(slug: string, change: () => Promise<unknown>): Promise<string[]> {
    const through = new AbortController();
    const changing = (async () => {
      while (!through.signal.aborted) await change();
    })();
    const outcomes = await Promise.all(
      Array.from({ length: callers }, async () => {
        const seen: string[] = [];
        for (let i = 0; i < callsOfEach; i++) seen.push(await outcomeOf(slug));
        return seen;
      }),
    ).finally(() => through.abort());
    await changing;
    return outcomes.flat();
  }

  function outcomeOf(slug: string): Promise<string> {
    return service.org.client.connections.callService({ service: slug, method: "GET", path: "/" }).then(
      ({ status }) => String(status),
      (error: unknown) => reasonOf(error) ?? String(error),
    );
  }

  const put = (slug: string, url: string, apiKey: string) => () =>
    service.org.client.connections.upsertServiceConnection({ serviceSlug: slug, baseUrl: url, apiKey });

  /** Does one after the other, and then begins again. */
  function inTurn(...changes: (() => Promise<unknown>)[]) {
    let turn = 0;
    return () => changes[turn++ % changes.length]!();
  }

  test("finds a connection or none, and never one without its key", async () => {
    await using upstream = await startUpstream();
    let id: string | undefined;
    const outcomes = await callBeside(
      "custom:there",
      inTurn(
        async () => ({ id } = (await put("custom:there", upstream.url, "k")()).connection!),
        () => service.org.client.connections.deleteConnection({ id: id! }),
      ),
    );
    expect(new Set(outcomes)).toStrictEqual(new Set(["200", "NOT_FOUND"]));
  });
});

test("good answers are noted in the order in which probes are, so that the two cannot lock each other out", async () => {
  await using upstream = await startUpstream();
  const connect = async (slug: string) => {
    const wanted = { serviceSlug: slug, baseUrl: upstream.url, apiKey: "k" };
    const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
    return connection!.id;
  };
  const [one, other] = [await connect("custom:one"), await connect("custom:other")].toSorted() as [
    string,
    string,
  ];
  const { postgres } = service;
  // So many that Postgres reads them as they lie, and the first of the two lies behind the second.
  await postgres.asOwner(`insert into connections (org_id, id, environment, slug, base_url, active, created_at, integration)
    select org_id, id || n, environment, slug || n, base_url, active, created_at, integration from connections, generate_series(1, 500) n where id = $1`, [one]); // prettier-ignore
  await postgres.asOwner(`insert into connection_health select org_id, id, created_at from connections where id like $1`, [`${one}_%`]); // prettier-ignore
  await postgres.asOwner("update connection_health set last_error = 'x' where connection_id = $1", [one]);
  await postgres.asOwner("analyze connection_health");
  for (const slug of ["custom:one", "custom:other"]) {
    await service.org.client.connections.callService({ service: slug, method: "GET", path: "/" });
  }

  await using holder = openConnection(postgres.url, {});
  const lock = (id: string) =>
    holder.run("select from connection_health where connection_id = $1 for update nowait", [id]);
  await holder.run("begin");
  await lock(one);
  const listing = service.org.client.connections.listConnections({ pageSize: 1 });
  await untilOneWaits(postgres);
  await lock(other);
  await holder.run("rollback");
  await listing;
  const { connection } = await service.org.client.connections.getConnection({ id: other });
  expect(connection!.lastHealthyAt).toBeDefined();
});

describe("beside the deletion of its integration", () => {
  const auth = { authMethod: "key", credentials: { key: "k" } };

  async function define(slug: string): Promise<void> {
    const key = { id: "key", type: "api_key", label: "Key", fields: [{ name: "key", secret: true }] };
    const described = { name: "Shop", authMethods: [{ ...key, inject: { headers: { "x-key": "{key}" } } }] };
    const { body } = await service.org.rest("PUT", `/api/integrations/${slug}`, described);
    expect(body.data).toMatchObject({ created: true });
  }

  const ways: [string, (slug: string, more: object) => ReturnType<typeof service.org.rest>][] = [
    [
      "a connection that is made",
      (slug, more) =>
        service.org.rest("POST", "/api/connections", { integration: slug, ...auth, baseUrl, ...more }),
    ],
    [
      "a slug that is registered",
      (serviceSlug, more) =>
        service.org.rest("POST", "/api/service-connections", { serviceSlug, auth, baseUrl, ...more }),
    ],
  ];
  const remove = (slug: string) => service.org.rest("DELETE", `/api/integrations/${slug}`);

  test.each(ways)("%s is stored, or the integration is gone, and not both", async (way, store) => {
    for (let round = 0; round < 15; round++) {
      const slug = `custom:${way.includes("slug") ? "s" : "c"}-${round}`;
      await define(slug);
      const [stored, removed] = await Promise.all([store(slug, {}), remove(slug)]);
      expect([
        [201, 409],
        [404, 200],
        // Looked up after the deletion: then it is a service of which nothing is known, this method neither.
        [400, 200],
      ]).toContainEqual([stored.status, removed.status]);
    }
  });

  test.each(ways)("%s is refused if it was deleted while the service was asked", async (way, store) => {
    await using upstream = await startUpstream();
    const slug = `custom:${way.includes("slug") ? "s" : "c"}-verified`;
    await define(slug);
    upstream.answer(async () => ({ status: (await remove(slug)).status }));
    const { status, headers } = await store(slug, { baseUrl: upstream.url, verify: true });
    expect([status, headers.get("x-error-reason")]).toStrictEqual([404, "UNKNOWN_INTEGRATION"]);
    const { body } = await service.org.rest("GET", `/api/connections?integration=${slug}`);
    expect(body.data.connections).toStrictEqual([]);
  });
});
