import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { newId } from "#src/platform/ids.ts";
import { blockNotifications, startReplicas } from "../support/replicas.ts";
import { startService, type Presenter, type RestReply, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

const everything = ["connections:view", "connections:write", "connections:use", "catalog:view"];

let service: TestService;
let upstream: Upstream;
/** The connections of the organisation, by what the tests call them. */
let ids: Record<"ledger" | "payroll" | "aml" | "hers" | "theirs", string>;
let [her, him]: [string, string] = ["", ""];

beforeAll(async () => {
  [service, upstream] = await Promise.all([startService(), startUpstream()]);
  const { client } = service.org;
  her = (await client.directory.upsertUser({ email: "her@bank.example" })).user!.id;
  him = (await client.directory.upsertUser({ email: "him@bank.example" })).user!.id;
  ids = {
    ledger: await connect("custom:ledger"),
    payroll: await connect("custom:payroll"),
    aml: await connect("aml"),
    hers: "",
    theirs: "",
  };
  const hers = await keyFor(undefined, { actAsUserId: her });
  ids.hers = await createdBy(hers, { integration: "custom:hers", visibility: "owner" });
  ids.theirs = await createdBy(hers, { visibility: "org" });
  await tag(ids.ledger, "kyc", "daily");
  await tag(ids.payroll, "hr");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

async function connect(serviceSlug: string, { client }: Presenter = service.org): Promise<string> {
  const wanted = { serviceSlug, baseUrl: `${upstream.url}/api`, apiKey: "the-key" };
  return (await client.connections.upsertServiceConnection(wanted)).connection!.id;
}

/** Makes a connection that is called by its id. */
function create(by: Presenter, more: object) {
  const credentials = { token: "the-key" };
  const wanted = {
    integration: "custom:other",
    authMethod: "bearer",
    baseUrl: `${upstream.url}/api`,
    credentials,
  };
  return by.rest("POST", "/api/connections", { ...wanted, ...more });
}

async function createdBy(by: Presenter, more: object): Promise<string> {
  const { status, body } = await create(by, more);
  expect(status).toBe(201);
  return body.data.connection.id;
}

async function tag(id: string, ...tags: string[]): Promise<void> {
  expect((await service.org.rest("PATCH", `/api/connections/${id}`, { tags })).status).toBe(200);
}

/** A key that is limited to these connections; without any, one that may use all. */
async function keyFor(rights: readonly object[] | undefined, more: object = {}, of = service) {
  const wanted = { name: "k", scopes: everything, ...(rights && { connections: { rights } }), ...more };
  const { status, body } = await of.org.rest("POST", "/api/api-keys", wanted);
  expect(status).toBe(201);
  return { id: body.data.apiKey.id as string, ...of.as(body.data.secret as string) };
}

const call = (by: Presenter, service: string, path = "/v1", method = "GET") =>
  by.rest("POST", "/api/service-calls", { service, method, path });

const act = (by: Presenter, actionIdentifier: string, more: object) =>
  by.rest("POST", "/api/actions/call", { actionIdentifier, ...more });

const plan = (by: Presenter, service: string, path = "/v1", method = "GET") =>
  by.rest("POST", "/api/actions/plan", { service, method, path });

/** What an answer tells a caller, without what differs between any two. */
function told({ status, headers, body }: RestReply) {
  return { status, reason: headers.get("x-error-reason"), body };
}

const reasonOf = (reply: RestReply) => reply.headers.get("x-error-reason") ?? reply.status;

/** All methods that take a connection, by its id or its slug. */
const ways: Record<string, (by: Presenter, ref: { id: string; slug: string }) => Promise<RestReply>> = {
  read: (by, { id }) => by.rest("GET", `/api/service-connections/${id}`),
  "read at its other path": (by, { id }) => by.rest("GET", `/api/connections/${id}`),
  "switch off": (by, { id }) => by.rest("PATCH", `/api/connections/${id}`, { active: false }),
  verify: (by, { id }) => by.rest("PATCH", `/api/connections/${id}`, { verify: true, active: true }),
  tag: (by, { id }) => by.rest("PATCH", `/api/connections/${id}`, { tags: ["kyc"] }),
  share: (by, { id }) => by.rest("PATCH", `/api/connections/${id}`, { visibility: "org" }),
  move: (by, { id }) => by.rest("PATCH", `/api/connections/${id}`, { baseUrl: upstream.url, apiKey: "mine" }),
  delete: (by, { id }) => by.rest("DELETE", `/api/connections/${id}`),
  test: (by, { id }) => by.rest("POST", `/api/connections/${id}/test`, {}),
  "check its credential": (by, { id }) =>
    by.rest("POST", `/api/connections/${id}/check-credential`, { apiKey: "the-key" }),
  "try a credential": (by, { id }) =>
    by.rest("PATCH", `/api/connections/${id}`, { apiKey: "mine", verify: true }),
  "call by its slug": (by, { slug }) => call(by, slug),
  "call by its id": (by, { id }) => call(by, id),
  "act by its slug": (by, { slug }) => act(by, `${slug}/GET /v1`, {}),
  "act by its id": (by, { id, slug }) => act(by, `${slug}/GET /v1`, { connectionId: id }),
  "plan by its slug": (by, { slug }) => plan(by, slug),
  "plan by its id": (by, { id }) => plan(by, id),
};
const byId = Object.entries(ways).filter(([name]) => !name.endsWith("by its slug"));

describe.each<[string, () => object[]]>([
  ["by its id", () => [{ id: ids.ledger }]],
  ["by its slug", () => [{ slug: "custom:ledger" }]],
  ["by its tag", () => [{ tag: "kyc" }]],
  ["by a method of it", () => [{ tag: "kyc", methods: ["GET"] }]],
  ["to none", () => []],
])("of a connection that it is not limited to, a key that is limited %s to another", (_, rights) => {
  test.each(Object.entries(ways))("learns no more than of one that does not exist: %s", async (_, go) => {
    const by = await keyFor(rights());
    const asked = upstream.asked.length;
    const missing = await go(by, { id: newId("scn", new Date()), slug: "custom:nothing" });
    expect(missing.status).toBe(404);
    for (const ref of [
      { id: ids.payroll, slug: "custom:payroll" },
      { id: ids.aml, slug: "aml" },
      { id: ids.hers, slug: "custom:hers" },
    ]) {
      expect(told(await go(by, ref))).toStrictEqual(told(missing));
    }
    expect(upstream.asked).toHaveLength(asked);
    const still = await service.org.rest("GET", `/api/connections/${ids.payroll}`);
    expect(still.body.data.connection).toMatchObject({ baseUrl: `${upstream.url}/api`, active: true });
  });

  test("cannot take its slug, and does not learn whether it is taken", async () => {
    const by = await keyFor(rights());
    const asked = upstream.asked.length;
    for (const more of [{}, { verify: true }, { apiKey: undefined, auth: { authMethod: "none" } }]) {
      const take = (serviceSlug: string) =>
        by.rest("POST", "/api/service-connections", {
          ...{ serviceSlug, baseUrl: upstream.url, apiKey: "mine" },
          ...more,
        });
      const free = await take("custom:free");
      expect([free.status, reasonOf(free)]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
      expect(told(await take("custom:payroll"))).toStrictEqual(told(free));
      expect(told(await take("aml"))).toStrictEqual(told(free));
    }
    const wanted = { integration: "custom:x", authMethod: "bearer", credentials: { token: "mine" } };
    const made = await by.rest("POST", "/api/connections", {
      ...wanted,
      baseUrl: upstream.url,
      verify: true,
    });
    expect([made.status, reasonOf(made)]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
    expect(upstream.asked).toHaveLength(asked);
    const { connections } = await service.org.client.connections.listAllConnections({});
    expect(connections.filter(({ baseUrl }) => baseUrl === upstream.url)).toEqual([]);
  });
});

test("the typed clients are told no more of a hidden connection than of a missing one either", async () => {
  const { client } = await keyFor([{ slug: "custom:ledger" }]);
  const failure = async (id: string, service: string) => {
    const { connections } = client;
    const calls = [
      connections.getConnection({ id }),
      connections.updateConnection({ id, active: false }),
      connections.deleteConnection({ id }),
      connections.testConnection({ id }),
      connections.callService({ service, method: "GET", path: "/" }),
      connections.callService({ service: id, method: "GET", path: "/" }),
    ];
    const outcomes = await Promise.allSettled(calls);
    return outcomes.map((outcome) => {
      const reason: unknown = outcome.status === "rejected" ? outcome.reason : undefined;
      if (!(reason instanceof ConnectError)) throw new Error("it was not refused", { cause: reason });
      return [reason.code, reason.rawMessage, reason.findDetails(ErrorInfoSchema)];
    });
  };
  const missing = await failure(newId("scn", new Date()), "custom:nothing");
  expect(missing.map(([code]) => code)).toEqual(missing.map(() => Code.NotFound));
  expect(await failure(ids.payroll, "custom:payroll")).toStrictEqual(missing);
});

describe("a list shows a key only what it may see:", () => {
  const listed = async (by: Presenter, path: string, name: string, of: string) => {
    const found: string[] = [];
    const sizes: number[] = [];
    let token = "";
    for (let page = 0; page < 20; page++) {
      const { status, body } = await by.rest(
        "GET",
        `${path}?pageSize=1&pageToken=${encodeURIComponent(token)}`,
      );
      expect(status).toBe(200);
      sizes.push(body.data[name].length);
      found.push(...body.data[name].map((one: Record<string, string>) => one[of]));
      token = body.data.nextPageToken ?? "";
      if (token !== "") continue;
      // An empty page, or one after the last, would tell of something that is left out.
      expect(sizes).toEqual(found.length === 0 ? [0] : found.map(() => 1));
      return found;
    }
    throw new Error("the list does not end");
  };

  test.each<[string, () => readonly object[] | undefined, () => string[]]>([
    [
      "everything but what is private to a user",
      () => undefined,
      () => [ids.ledger, ids.payroll, ids.aml, ids.theirs],
    ],
    ["what a slug names", () => [{ slug: "custom:payroll" }], () => [ids.payroll]],
    ["what an id names", () => [{ id: ids.theirs }], () => [ids.theirs]],
    ["what a tag names", () => [{ tag: "daily" }], () => [ids.ledger]],
    [
      "what any of several names",
      () => [{ slug: "aml", methods: ["PUT"] }, { tag: "hr" }],
      () => [ids.payroll, ids.aml],
    ],
    ["nothing of what has no such name", () => [{ slug: "custom:nothing" }, { tag: "none" }], () => []],
    ["nothing of what is private", () => [{ id: ids.hers }], () => []],
    ["nothing at all", () => [], () => []],
  ])("%s", async (_, rights, expected) => {
    const by = await keyFor(rights());
    const found = await listed(by, "/api/connections", "connections", "id");
    expect(found.toSorted()).toEqual(expected().toSorted());
    const named = await listed(by, "/api/service-connections", "connections", "id");
    expect(named.toSorted()).toEqual(
      expected()
        .filter((id) => id !== ids.theirs)
        .toSorted(),
    );
    const slugs = { [ids.ledger]: "custom:ledger", [ids.payroll]: "custom:payroll", [ids.aml]: "aml" };
    const offered = await listed(by, "/api/catalog/services", "catalog", "slug");
    expect(offered.toSorted()).toEqual(
      expected()
        .flatMap((id) => slugs[id] ?? [])
        .toSorted(),
    );
  });

  test("and a page token of a key with all rights leads a limited one to nothing more", async () => {
    const { body } = await service.org.rest("GET", "/api/connections?pageSize=1");
    const by = await keyFor([{ slug: "aml" }]);
    const next = await by.rest("GET", `/api/connections?pageToken=${body.data.nextPageToken}`);
    expect(next.status).toBe(200);
    expect([ids.aml]).toEqual(
      expect.arrayContaining(next.body.data.connections.map(({ id }: { id: string }) => id)),
    );
  });
});

test("a list has exactly the connections that the same key can read", async () => {
  const names = () => [
    ...Object.values(ids).map((id) => ({ id })),
    ...["custom:ledger", "custom:payroll", "aml", "custom:hers"].map((slug) => ({ slug })),
    ...["kyc", "daily", "hr", "none"].map((tag) => ({ tag })),
  ];
  const some = fc.uniqueArray(fc.constantFrom(...names()), { maxLength: 3 });
  const user = fc.constantFrom<(string | undefined)[]>(undefined, her, him);
  await fc.assert(
    fc.asyncProperty(some, user, fc.boolean(), async (rights, actAsUserId, manages) => {
      const scopes = [...everything, ...(manages ? ["connections:manage"] : [])];
      const by = await keyFor(rights, { scopes, ...(actAsUserId && { actAsUserId }) });
      const list = await by.rest("GET", "/api/connections");
      const listed = list.body.data.connections.map(({ id }: { id: string }) => id);
      const read = [];
      for (const id of Object.values(ids)) {
        if ((await by.rest("GET", `/api/connections/${id}`)).status === 200) read.push(id);
      }
      expect(listed.toSorted()).toEqual(read.toSorted());
    }),
    { numRuns: 15 },
  );
});

describe("a key that is limited to a part of a connection", () => {
  const part = { slug: "custom:ledger", methods: ["GET", "PUT"], pathPrefixes: ["/v1", "/v2/open"] };

  test.each([
    ["GET", "/v1"],
    ["PUT", "/v1/entries/7"],
    ["GET", "/v2/open/x"],
  ])("calls %s %s", async (method, path) => {
    const by = await keyFor([part]);
    expect((await call(by, "custom:ledger", path, method)).status).toBe(200);
    expect(upstream.asked.at(-1)).toMatchObject({ method, url: `/api${path}` });
    expect((await call(by, ids.ledger, path, method)).status).toBe(200);
  });

  test.each<readonly [string, string]>([
    ["POST", "/v1"],
    ["HEAD", "/v1"],
    ["DELETE", "/v1/entries/7"],
    ...[
      "",
      "/",
      "/v10",
      "/v2",
      "/v2/opened",
      "/V1",
      "/%761",
      "/v%31/x",
      "/v1%2Fx",
      "/v1;x",
      "/v1;/x",
      "//v1",
      "/v1/../v3",
    ].map((path) => ["GET", path] as const),
    ...[
      "/v1/%2e%2e/v3",
      "/v1/..%2fv3",
      "/v1/%252e%252e/v3",
      "/v1/..;/v3",
      "/v1\\..\\v3",
      "/v1/../../admin",
      "/v1?x",
    ].map((path) => ["GET", path] as const),
  ])("is told that it may not call %s %s, and nothing is sent", async (method, path) => {
    const by = await keyFor([part]);
    const asked = upstream.asked.length;
    for (const ref of ["custom:ledger", ids.ledger]) {
      for (const go of [call, plan]) {
        const reply = await go(by, ref, path, method);
        expect([reply.status, reasonOf(reply)]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
      }
    }
    expect(upstream.asked).toHaveLength(asked);
  });

  test("is limited to it by the path that an action comes to, and not by its template", async () => {
    const by = await keyFor([part]);
    const filled = (a: string) => act(by, "custom:ledger/GET /{a}", { input: { path: { a } } });
    expect((await filled("v1")).status).toBe(200);
    for (const a of ["v10", "v1/x", "%761", "V1", "v1;x"]) {
      expect([a, reasonOf(await filled(a))]).toEqual([a, "CONNECTION_NOT_ALLOWED"]);
    }
    expect(reasonOf(await act(by, "custom:ledger/DELETE /v1", {}))).toBe("CONNECTION_NOT_ALLOWED");
  });

  test.each([
    ["moves the base URL, so that the paths lead elsewhere", { baseUrl: "deeper" }],
    ["gives another credential", { apiKey: "mine" }],
    ["switches it off", { active: false }],
  ])("never %s", async (_, change) => {
    const by = await keyFor([part]);
    const fields = "baseUrl" in change ? { baseUrl: `${upstream.url}/api/admin` } : change;
    const reply = await by.rest("PATCH", `/api/connections/${ids.ledger}`, fields);
    expect([reply.status, reasonOf(reply)]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
  });

  test("neither deletes it nor connects its service again", async () => {
    const by = await keyFor([part]);
    const deleted = await by.rest("DELETE", `/api/connections/${ids.ledger}`);
    expect([deleted.status, reasonOf(deleted)]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
    const wanted = { serviceSlug: "custom:ledger", baseUrl: upstream.url, apiKey: "mine" };
    const replaced = await by.rest("POST", "/api/service-connections", wanted);
    expect([replaced.status, reasonOf(replaced)]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
  });

  test("reads and tests it", async () => {
    const by = await keyFor([part]);
    expect((await by.rest("GET", `/api/connections/${ids.ledger}`)).status).toBe(200);
    expect((await by.rest("POST", `/api/connections/${ids.ledger}/test`, {})).status).toBe(200);
  });
});

test("a key with a right to all of a connection makes, moves and deletes it", async () => {
  const by = await keyFor([{ slug: "custom:own" }, { slug: "custom:ledger", methods: ["GET"] }]);
  const id = await connect("custom:own", by);
  const moved = await by.rest("PATCH", `/api/connections/${id}`, { baseUrl: `${upstream.url}/api/deeper` });
  expect(moved.status).toBe(200);
  expect(await connect("custom:own", by)).toBe(id);
  expect((await by.rest("DELETE", `/api/connections/${id}`)).status).toBe(200);
});

describe("what is remembered of a connection is judged for each caller:", () => {
  afterEach(() => tag(ids.ledger, "kyc", "daily"));

  test("one is served and the other refused, whoever called before", async () => {
    const [all, none] = [await keyFor(undefined), await keyFor([{ slug: "aml" }])];
    for (const [by, expected] of [
      [all, 200],
      [none, "NOT_FOUND"],
      [all, 200],
      [none, "NOT_FOUND"],
    ] as const) {
      expect(reasonOf(await call(by, "custom:ledger"))).toBe(expected);
      expect(reasonOf(await call(by, ids.ledger))).toBe(expected);
    }
  });

  test("a tag that it loses, or gets, counts from the next call on", async () => {
    const by = await keyFor([{ tag: "kyc" }]);
    expect(reasonOf(await call(by, ids.ledger))).toBe(200);
    await tag(ids.ledger, "other");
    await expect
      .poll(async () => reasonOf(await call(by, ids.ledger)), { timeout: 20_000 })
      .toBe("NOT_FOUND");
    await tag(ids.ledger, "other", "kyc");
    await expect.poll(async () => reasonOf(await call(by, ids.ledger)), { timeout: 20_000 }).toBe(200);
  });

  test("rights that a key loses count from the next call on, where they were taken", async () => {
    const by = await keyFor(undefined);
    expect(reasonOf(await call(by, "custom:ledger"))).toBe(200);
    const limit = (rights: object[]) =>
      service.org.rest("PATCH", `/api/api-keys/${by.id}`, { connections: { rights } });
    await limit([{ slug: "custom:ledger", pathPrefixes: ["/v2"] }]);
    expect(reasonOf(await call(by, "custom:ledger"))).toBe("CONNECTION_NOT_ALLOWED");
    await limit([]);
    expect(reasonOf(await call(by, "custom:ledger"))).toBe("NOT_FOUND");
  });
});

test("rights that a key loses are lost on other replicas within five seconds, without any notification", async () => {
  await using replicas = await startReplicas();
  await blockNotifications(replicas.postgres);
  const wanted = { serviceSlug: "custom:ledger", baseUrl: upstream.url, apiKey: "the-key" };
  const { connection } = await replicas.one.org.client.connections.upsertServiceConnection(wanted);
  const by = await keyFor(undefined, {}, replicas.one);
  const elsewhere = replicas.other.as(by.secret);
  expect(reasonOf(await call(elsewhere, connection!.id))).toBe(200);
  await replicas.one.org.rest("PATCH", `/api/api-keys/${by.id}`, { connections: { rights: [] } });
  expect(reasonOf(await call(by, connection!.id))).toBe("NOT_FOUND");
  replicas.other.clock.advance(5_000);
  expect(reasonOf(await call(elsewhere, connection!.id))).toBe("NOT_FOUND");
});

describe("a connection that a user keeps private", () => {
  const ref = () => ({ id: ids.hers, slug: "custom:hers" });
  const harmless = [
    "read",
    "read at its other path",
    "test",
    "call by its id",
    "act by its id",
    "plan by its id",
  ];

  test.each(byId.filter(([name]) => harmless.includes(name)))("is its owner's: %s", async (_, go) => {
    expect((await go(await keyFor(undefined, { actAsUserId: her }), ref())).status).toBe(200);
  });

  test.each(byId)("is refused to another user, to no user and to a wildcard: %s", async (_, go) => {
    const asked = upstream.asked.length;
    const others = [
      await keyFor(undefined, { actAsUserId: him }),
      await keyFor(undefined),
      await keyFor(undefined, { scopes: ["write", "connections:use"] }),
    ];
    for (const by of others) {
      const reply = await go(by, ref());
      const lacksScope = reply.status === 403 && reasonOf(reply) === "MISSING_SCOPE";
      expect([reply.status, lacksScope || reasonOf(reply)]).toEqual([403, "NOT_OWNER"]);
    }
    expect(upstream.asked).toHaveLength(asked);
  });

  test("is listed to its owner, and to nobody else", async () => {
    const listed = async (more: object) => {
      const { body } = await (await keyFor(undefined, more)).rest("GET", "/api/connections");
      return body.data.connections.some(({ id }: { id: string }) => id === ids.hers);
    };
    expect(await listed({ actAsUserId: her })).toBe(true);
    expect(await listed({ actAsUserId: him })).toBe(false);
    expect(await listed({})).toBe(false);
    expect(await listed({ scopes: ["write"] })).toBe(false);
    expect(await listed({ scopes: ["read", "connections:use", "api:manage"] })).toBe(false);
  });

  test("is not its owner's while the owner is deactivated", async () => {
    const by = await keyFor(undefined, { actAsUserId: her });
    await service.org.client.directory.deactivateUser({ id: her });
    expect(reasonOf(await call(by, ids.hers))).toBe("NOT_OWNER");
    await service.org.client.directory.upsertUser({ email: "her@bank.example" });
    expect(reasonOf(await call(by, ids.hers))).toBe(200);
  });

  test("of connections:manage is listed, read and deleted, and never used or changed", async () => {
    const scopes = ["connections:manage", "connections:view", "connections:write", "connections:use"];
    const by = await keyFor(undefined, { scopes, actAsUserId: him });
    const list = await by.rest("GET", "/api/connections");
    expect(list.body.data.connections.map(({ id }: { id: string }) => id)).toContain(ids.hers);
    expect((await ways.read!(by, ref())).status).toBe(200);
    const refused = [
      "call by its id",
      "act by its id",
      "plan by its id",
      "test",
      "check its credential",
      "verify",
      "move",
      "tag",
    ];
    for (const way of [...refused, "share", "switch off"]) {
      expect([way, reasonOf(await ways[way]!(by, ref()))]).toEqual([way, "NOT_OWNER"]);
    }
    const doomed = await createdBy(await keyFor(undefined, { actAsUserId: her }), { visibility: "owner" });
    expect((await by.rest("DELETE", `/api/connections/${doomed}`)).status).toBe(200);
  });
});

test("a slug whose connection is private is not taken over by another user", async () => {
  const id = await connect("custom:kept");
  const toHer = "update connections set owner_user_id = $2, visibility = 'owner' where id = $1";
  await service.postgres.asOwner(toHer, [id, her]);
  const take = async (actAsUserId: string) => {
    const by = await keyFor(undefined, { actAsUserId });
    const wanted = { serviceSlug: "custom:kept", baseUrl: `${upstream.url}/api`, apiKey: "mine" };
    return reasonOf(await by.rest("POST", "/api/service-connections", wanted));
  };
  expect(await take(him)).toBe("NOT_OWNER");
  expect(await take(her)).toBe(201);
});

describe("a key that is limited by a tag", () => {
  const limited = () => keyFor([{ tag: "kyc" }, { slug: "aml", methods: ["GET"] }]);

  test("makes connections that have it, and no others", async () => {
    const by = await limited();
    const id = await createdBy(by, { tags: ["kyc"] });
    expect(reasonOf(await call(by, id))).toBe(200);
    // With another tag, keys that are limited to that one would call what this key chose.
    for (const tags of [[], ["new"], ["kyc", "hr"], ["KYC"], ["kyc "], ["kyc-2"]]) {
      expect([tags, reasonOf(await create(by, { tags }))]).toEqual([tags, "CONNECTION_NOT_ALLOWED"]);
    }
    expect((await by.rest("DELETE", `/api/connections/${id}`)).status).toBe(200);
  });

  test("changes no tags of them, not even to the same", async () => {
    const by = await limited();
    const id = await createdBy(by, { tags: ["kyc"] });
    for (const tags of [[], ["kyc"], ["kyc", "hr"], ["hr"]]) {
      const reply = await by.rest("PATCH", `/api/connections/${id}`, { tags });
      expect([reply.status, reply.body.error]).toEqual([
        403,
        expect.stringMatching(/^tags: the key is limited by/),
      ]);
    }
    expect((await by.rest("PATCH", `/api/connections/${id}`, { name: "x" })).status).toBe(200);
    expect((await by.rest("DELETE", `/api/connections/${id}`)).status).toBe(200);
  });

  test("takes no slug, and does not learn whether it is taken", async () => {
    const by = await limited();
    const take = async (serviceSlug: string) =>
      told(await create(by, { integration: serviceSlug, serviceSlug, tags: ["kyc"] }));
    const free = await take("custom:still-free");
    expect([free.status, free.reason]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
    expect(await take("custom:payroll")).toStrictEqual(free);
    expect(await take("custom:ledger")).toStrictEqual(free);
  });
});

test("a key that is limited by an id or a slug sets tags, and makes what its slug names", async () => {
  const by = await keyFor([{ slug: "custom:tagged" }]);
  const id = await createdBy(by, { integration: "custom:tagged", serviceSlug: "custom:tagged" });
  expect((await by.rest("PATCH", `/api/connections/${id}`, { tags: ["a"] })).status).toBe(200);
  expect(reasonOf(await create(by, { tags: ["a"] }))).toBe("CONNECTION_NOT_ALLOWED");
  expect((await by.rest("DELETE", `/api/connections/${id}`)).status).toBe(200);
});

describe("the audit log, to a key that is limited to some connections,", () => {
  const eventsOf = async (by: Presenter, more = "") => {
    const { status, body } = await by.rest("GET", `/api/audit/events?pageSize=1000${more}`);
    expect(status).toBe(200);
    return body.data.events as { target: string }[];
  };
  const scopes = [...everything, "audit:view"];

  test.each<[string, () => object[], () => string[]]>([
    ["its id", () => [{ id: ids.ledger }], () => [ids.ledger]],
    ["its slug", () => [{ slug: "custom:ledger" }], () => [ids.ledger]],
    ["its tag", () => [{ tag: "hr" }], () => [ids.payroll]],
    ["nothing", () => [], () => []],
  ])("shows by %s no events of others", async (_, rights, own) => {
    const by = await keyFor(rights(), { scopes });
    const all = await eventsOf(service.org);
    const isShown = ({ target }: { target: string }) => !target.startsWith("scn_") || own().includes(target);
    expect(all.some((event) => !isShown(event))).toBe(true);
    expect(await eventsOf(by)).toStrictEqual(all.filter(isShown));
    expect(await eventsOf(by, `&target=${ids.aml}`)).toStrictEqual([]);
  });

  test("shows those of a connection that is deleted by its id only", async () => {
    const id = await createdBy(service.org, { tags: ["short-lived"] });
    const byTag = await keyFor([{ tag: "short-lived" }], { scopes });
    const byId = await keyFor([{ id }], { scopes });
    expect(await eventsOf(byTag, `&target=${id}`)).toHaveLength(1);
    await service.org.rest("DELETE", `/api/connections/${id}`);
    expect(await eventsOf(byTag, `&target=${id}`)).toHaveLength(0);
    expect(await eventsOf(byId, `&target=${id}`)).toHaveLength(2);
  });
});
