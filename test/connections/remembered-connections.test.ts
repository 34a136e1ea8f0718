import { describe, expect, test, vi } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { blockNotifications, startReplicas } from "../support/replicas.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";
import { startUpstream, type Asked, type Upstream } from "../support/upstream.ts";

const slug = "custom:remembered";

async function connect({ client }: Presenter, baseUrl: string, apiKey = "first"): Promise<string> {
  const wanted = { serviceSlug: slug, baseUrl, apiKey };
  return (await client.connections.upsertServiceConnection(wanted)).connection!.id;
}

/** The status that the connected service answered, or the reason why there is none. */
function call({ client }: Presenter, service = slug): Promise<string> {
  return client.connections.callService({ service, method: "GET", path: "/" }).then(
    ({ status }) => String(status),
    (error: unknown) => reasonOf(error) ?? String(error),
  );
}

/** What the last call carried, and where. */
function carried(upstream: Upstream): string {
  const { url, headers } = upstream.asked.at(-1)!;
  return `${url} ${headers.authorization}`;
}

test("a call through a connection that was just called through costs no statement, and after five seconds one question", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using service = await startService({ postgres: { ...postgres, url: proxy.url } });
  await using upstream = await startUpstream();
  const id = await connect(service.org, upstream.url);
  const count = async (work: () => Promise<unknown>) => {
    const before = proxy.statements();
    await work();
    return proxy.statements() - before;
  };
  await call(service.org);
  const warm = () => service.org.client.verification.verifyKey({ key: "" });
  const cold = async () => {
    // Writes what was noted of calls, which would be written within ten seconds by itself.
    await service.org.client.connections.getConnection({ id });
    service.clock.advance(5_000);
    await warm();
  };
  await cold();
  const question = await count(() => call(service.org));
  expect(question).toBeGreaterThan(0);
  expect(await count(() => call(service.org))).toBe(0);
  expect(await count(() => call(service.org, id))).toBe(0);
  const { client } = service.org;
  // The first asks which catalog is in force.
  const act = () => client.connections.callAction({ actionIdentifier: `${slug}/GET /` });
  expect(await count(act)).toBeGreaterThan(0);
  expect(await count(act)).toBe(0);
  const asked = {
    call: { case: "method", value: "GET" },
    connection: { case: "service", value: slug },
  } as const;
  expect(await count(() => client.connections.planCall(asked))).toBe(0);
  await cold();
  expect(await count(() => call(service.org, id))).toBe(question);
  expect(await count(() => call(service.org))).toBe(0);
  await cold();
  expect(await count(() => Promise.all(Array.from({ length: 20 }, () => call(service.org))))).toBe(question);
  expect(await count(() => Promise.all(Array.from({ length: 20 }, () => call(service.org))))).toBe(0);
});

describe("where it was made, without any notification, a change of a connection counts from the next call on:", () => {
  type Change = (service: TestService, connection: { id: string; url: string }) => Promise<unknown>;
  const connections = (service: TestService) => service.org.client.connections;
  test.each<[string, Change, string]>([
    [
      "its key",
      (service, { id }) => connections(service).updateConnection({ id, apiKey: "second" }),
      "/ Bearer second",
    ],
    [
      "its base URL",
      (service, { id, url }) => connections(service).updateConnection({ id, baseUrl: `${url}/v2` }),
      "/v2/ Bearer first",
    ],
    ["both", (service, { url }) => connect(service.org, `${url}/new`, "second"), "/new/ Bearer second"],
    [
      "its deactivation",
      (service, { id }) => connections(service).updateConnection({ id, active: false }),
      "CONNECTION_INACTIVE",
    ],
    [
      "its return",
      async (service, { id }) => {
        await connections(service).updateConnection({ id, active: false });
        await call(service.org);
        await connections(service).updateConnection({ id, active: true });
      },
      "/ Bearer first",
    ],
    ["its deletion", (service, { id }) => connections(service).deleteConnection({ id }), "NOT_FOUND"],
    [
      "another one in its place",
      async (service, { id, url }) => {
        await connections(service).deleteConnection({ id });
        await call(service.org);
        await connect(service.org, `${url}/other`, "other");
      },
      "/other/ Bearer other",
    ],
  ])("%s", async (_, change, outcome) => {
    await using service = await startService();
    await using upstream = await startUpstream();
    await blockNotifications(service.postgres);
    const id = await connect(service.org, upstream.url);
    expect([await call(service.org), await call(service.org, id)]).toStrictEqual(["200", "200"]);
    await change(service, { id, url: upstream.url });
    const status = await call(service.org);
    expect(status === "200" ? carried(upstream) : status).toBe(outcome);
    const byId = await call(service.org, id);
    // What has its slug now is another connection.
    expect(byId === "200" ? carried(upstream) : byId).toBe(
      outcome === "/other/ Bearer other" ? "NOT_FOUND" : outcome,
    );
  });
});

test("a connection's id reaches it and no other organisation's, and its slug is no id", async () => {
  await using service = await startService();
  await using upstream = await startUpstream();
  const id = await connect(service.org, upstream.url);
  const other = await service.newOrganization("globex");
  expect(await call(service.org, id)).toBe("200");
  expect(await call(other, id)).toBe("NOT_FOUND");
  expect(await call(service.org, `custom:${id}`)).toBe("NOT_FOUND");
  expect(await call(service.org, id.toLowerCase())).toBe("NOT_FOUND");
});

test.each(["PENDING_AUTHORIZATION", "NEEDS_REAUTH", "REFRESH_IN_DOUBT", "REVOKED"])(
  "a connection that is %s is not called through",
  async (status) => {
    await using service = await startService();
    await using upstream = await startUpstream();
    const id = await connect(service.org, upstream.url);
    await service.postgres.asOwner(`update connections set status = '${status}' where id = '${id}'`);
    expect(await call(service.org, id)).toBe("CONNECTION_INACTIVE");
    expect(upstream.asked).toStrictEqual([]);
  },
);

describe("a connection that another replica remembers", () => {
  test("is used there as it is now, as soon as Postgres has told it, though its clock stands still", async () => {
    await using replicas = await startReplicas();
    const { one, other } = replicas;
    const there = other.as(one.org.secret);
    await using upstream = await startUpstream();
    for (let i = 0; i < 5; i++) {
      await connect(one.org, `${upstream.url}/${i}`, `key-${i}`);
      await vi.waitUntil(
        async () => {
          await call(there);
          return carried(upstream) === `/${i}/ Bearer key-${i}`;
        },
        { timeout: 50_000, interval: 1 },
      );
    }
  });

  test("is used there as it is now after five seconds if notifications are lost", async () => {
    await using replicas = await startReplicas();
    const { one, other, postgres } = replicas;
    await blockNotifications(postgres);
    const there = other.as(one.org.secret);
    await using upstream = await startUpstream();
    await connect(one.org, upstream.url);
    expect(await call(there)).toBe("200");
    await connect(one.org, `${upstream.url}/new`, "second");
    other.clock.advance(4_999);
    await call(there);
    expect(carried(upstream)).toBe("/ Bearer first");
    other.clock.advance(1);
    await call(there);
    expect(carried(upstream)).toBe("/new/ Bearer second");
  });
});

describe("a call beside changes of its connection", () => {
  const callers = 12;
  const calls = 2_000;

  /** Which version of the connection the request is of: by its path, and by its key. */
  function versionsOf({ url, headers }: Asked): [number, number] {
    return [
      Number(/^\/v(\d+)\//.exec(url)?.[1]),
      Number(/^Bearer key-(\d+)$/.exec(headers.authorization ?? "")?.[1]),
    ];
  }

  test("carries address and key of one version, of two origins and many paths, on two replicas, and where it was changed of none older than the last that was answered", async () => {
    await using replicas = await startReplicas();
    const { one, other } = replicas;
    const there = other.as(one.org.secret);
    await using a = await startUpstream();
    await using b = await startUpstream();
    const mixed: unknown[] = [];
    for (const [parity, upstream] of [a, b].entries()) {
      upstream.answer((asked) => {
        const [path, key] = versionsOf(asked);
        if (path !== key || path % 2 !== parity) mixed.push([parity, asked.url, asked.headers.authorization]);
        return { headers: { "content-type": "text/plain" }, body: String(path) };
      });
    }
    let version = 0;
    const change = async () => {
      const next = version + 1;
      await connect(one.org, `${(next % 2 === 0 ? a : b).url}/v${next}`, `key-${next}`);
      version = next;
    };
    await change();

    let left = calls;
    const stale: unknown[] = [];
    const calling = Array.from({ length: callers }, async (_, caller) => {
      const presenter = caller % 2 === 0 ? one.org : there;
      while (left-- > 0) {
        const answered = version;
        const { connections } = presenter.client;
        const { body } = await connections.callService({ service: slug, method: "GET", path: "/" });
        if (presenter === one.org && !(Number(body.value) >= answered)) stale.push([body.value, answered]);
      }
    });
    const through = Promise.all(calling);
    while (left > 0) await Promise.race([change(), through]);
    await through;
    expect(mixed).toStrictEqual([]);
    expect(stale).toStrictEqual([]);
    // Often enough for most to have met a change.
    expect(version).toBeGreaterThan(20);
  });
});
