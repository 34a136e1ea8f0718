import { createHash, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type Presenter, type RestReply, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** As `connections` in a request; undefined for the lack of it. */
type Rights = { rights: readonly object[] } | undefined;

const scopes = ["api:manage", "connections:use", "connections:write"];

async function issue(connections: Rights, more: object = {}) {
  const wanted = { name: "k", scopes, ...(connections && { connections }), ...more };
  const { status, body } = await service.org.rest("POST", "/api/api-keys", wanted);
  expect(status).toBe(201);
  return { id: body.data.apiKey.id as string, ...service.as(body.data.secret as string) };
}

const shown = async (id: string) => (await service.org.rest("GET", `/api/api-keys/${id}`)).body.data.apiKey;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const legacyKey = () => `aml_${sha256(randomUUID())}`;

interface HandedOut {
  readonly by: Presenter;
  /** What is handed out, as it stands in a request. */
  readonly connections: object;
  /** A key that has the rights already, and was never used. */
  readonly has: string;
  /** A key without any. */
  readonly hasNone: string;
}

/** All ways in which a caller comes to hold, or lets others hold, what a key may use. */
const ways: Record<string, (what: HandedOut) => Promise<RestReply>> = {
  issue: ({ by, connections }) => by.rest("POST", "/api/api-keys", { name: "k", scopes, ...connections }),
  import: ({ by, connections }) => importing(by, { ...connections, key: legacyKey() }),
  "import by hash": ({ by, connections }) => importing(by, { ...connections, sha256: sha256(legacyKey()) }),
  widen: ({ by, hasNone, connections }) =>
    patching(by, hasNone, "connections" in connections ? connections : { connections: null }),
  // Over Connect, where what the mask names and the message lacks is cleared.
  async "widen by its mask"({ by, hasNone, connections }) {
    const change = { id: hasNone, updateMask: "connections", ...connections };
    const reply = await by.rest("POST", "/patchbay.apikeys.v1.ApiKeyService/UpdateApiKey", change);
    return { ...reply, body: { ...reply.body, error: reply.body.message } };
  },
  rename: ({ by, has }) => patching(by, has, { name: "x" }),
  note: ({ by, has }) => patching(by, has, { metadata: { team: "x" } }),
  limit: ({ by, has }) => patching(by, has, { rateLimitPerMinute: 7 }),
  prolong: ({ by, has }) => patching(by, has, { expiresAt: null }),
  "give scopes": ({ by, has }) => patching(by, has, { scopes: ["connections:use"] }),
  rotate: ({ by, has }) => by.rest("POST", `/api/api-keys/${has}/rotate`, { graceSeconds: 0 }),
  "rotate as lost": ({ by, has }) => by.rest("POST", `/api/api-keys/${has}/rotate`, { replaceUnused: true }),
};

function importing(by: Presenter, more: object) {
  const wanted = { name: "k", scopes, environment: "sandbox", ...more };
  return by.rest("POST", "/api/api-keys/import", wanted);
}

function patching(by: Presenter, id: string, fields: object) {
  return by.rest("PATCH", `/api/api-keys/${id}`, fields);
}

const only = (...rights: object[]): Rights => ({ rights });
const v1 = { slug: "aml", methods: ["GET", "POST"], pathPrefixes: ["/v1"] };

describe.each<[string, held: Rights, wanted: Rights, allowed: boolean]>([
  ["the same right", only(v1), only(v1), true],
  ["a smaller one", only(v1), only({ slug: "aml", methods: ["GET"], pathPrefixes: ["/v1/reports"] }), true],
  ["none at all", only(v1), only(), true],
  ["none of its none", only(), only(), true],
  ["two parts of one", only({ tag: "kyc" }), only({ tag: "kyc", methods: ["GET"] }, { tag: "kyc" }), true],
  ["anything, having everything", undefined, undefined, true],
  ["everything", only(v1), undefined, false],
  ["everything, having nothing", only(), undefined, false],
  ["a right, having nothing", only(), only(v1), false],
  ["another method", only(v1), only({ ...v1, methods: ["GET", "PUT"] }), false],
  ["every method", only(v1), only({ slug: "aml", pathPrefixes: ["/v1"] }), false],
  ["every path", only(v1), only({ slug: "aml", methods: ["GET"] }), false],
  ["a path that only begins alike", only(v1), only({ ...v1, pathPrefixes: ["/v10"] }), false],
  ["the path above", only({ ...v1, pathPrefixes: ["/v1/a"] }), only(v1), false],
  ["another service", only(v1), only({ ...v1, slug: "identity" }), false],
  ["the same by a tag", only(v1), only({ tag: "aml" }), false],
  ["a right beside its own", only(v1), only(v1, { slug: "identity" }), false],
  [
    "the sum of its own",
    only({ tag: "a", methods: ["GET"] }, { tag: "a", methods: ["PUT"] }),
    only({ tag: "a" }),
    false,
  ],
])("%s", (_, held, wanted, allowed) => {
  const prepare = async () => {
    const [by, { id: has }, { id: hasNone }] = [await issue(held), await issue(wanted), await issue(only())];
    return { by, has, hasNone, connections: wanted ? { connections: wanted } : {} };
  };

  if (allowed) {
    test.each(Object.entries(ways))("is given: %s", async (_, go) => {
      expect((await go(await prepare())).status).toBeLessThan(300);
    });
    return;
  }

  describe("is not given", () => {
    // What is refused leaves all keys as they are, for the next to be refused as well.
    let what: HandedOut;
    let before: unknown[];
    beforeAll(async () => {
      what = await prepare();
      before = [await shown(what.has), await shown(what.hasNone)];
    });

    test.each(Object.entries(ways))("%s", async (_, go) => {
      const { status, body } = await go(what);
      expect([status, body.error]).toEqual([
        403,
        expect.stringContaining("connections: your own key is limited"),
      ]);
      expect([await shown(what.has), await shown(what.hasNone)]).toStrictEqual(before);
    });
  });
});

describe("a key that is limited to some connections", () => {
  test("gives no more than that with api:grant either, which is about scopes", async () => {
    const by = await issue(only({ slug: "aml" }), { scopes: ["api:manage", "api:grant"] });
    const create = (more: object) =>
      by.rest("POST", "/api/api-keys", { name: "k", scopes: ["audit:view"], ...more });
    const refused = await create({});
    expect([refused.status, refused.headers.get("x-error-reason")]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
    expect((await create({ connections: { rights: [{ slug: "aml" }] } })).status).toBe(201);
  });

  test("does not change its own rights, nor to fewer", async () => {
    const by = await issue(only({ slug: "aml" }));
    for (const connections of [null, { rights: [] }, { rights: [{ slug: "aml" }] }]) {
      const { status, headers } = await by.rest("PATCH", `/api/api-keys/${by.id}`, { connections });
      expect([status, headers.get("x-error-reason")]).toEqual([403, "SELF_MODIFICATION"]);
    }
  });

  test("rotates itself", async () => {
    const by = await issue(only({ slug: "aml", methods: ["GET"] }));
    const { status, body } = await by.rest("POST", `/api/api-keys/${by.id}/rotate`, {});
    expect(status).toBe(200);
    const me = await service.as(body.data.secret as string).rest("GET", "/api/auth/me");
    expect(me.body.data.connections).toEqual(only({ slug: "aml", methods: ["GET"], pathPrefixes: [] }));
  });

  test("takes rights away that it could not give, and revokes a wider key", async () => {
    const by = await issue(only({ slug: "aml" }));
    const [narrowed, revoked] = [await issue(undefined), await issue(undefined)];
    expect((await patching(by, narrowed.id, { connections: { rights: [{ slug: "aml" }] } })).status).toBe(
      200,
    );
    expect((await by.rest("DELETE", `/api/api-keys/${revoked.id}`)).status).toBe(200);
  });

  test("is limited from the next call on, and its new limits count at once", async () => {
    const key = await issue(undefined);
    const of = async () => (await key.rest("GET", "/api/auth/me")).body.data.connections;
    expect(await of()).toBeUndefined();
    await patching(service.org, key.id, { connections: { rights: [] } });
    expect(await of()).toEqual({ rights: [] });
    await patching(service.org, key.id, { connections: null });
    expect(await of()).toBeUndefined();
  });
});

test("rights are answered as they were given, and the audit has them before and after", async () => {
  const given = { rights: [{ ...v1 }, { id: "scn_01M8JFZ5E6VSREB3XX8BE14KMH" }, { tag: "kyc" }] };
  const all = { methods: [], pathPrefixes: [] };
  const answered = { rights: [v1, { ...all, ...given.rights[1] }, { ...all, ...given.rights[2] }] };
  const { id } = await issue(given);
  expect((await shown(id)).connections).toEqual(answered);
  const list = await service.org.rest("GET", "/api/api-keys");
  expect(list.body.data.apiKeys.find((key: { id: string }) => key.id === id).connections).toEqual(answered);
  await patching(service.org, id, { connections: { rights: [] } });
  expect((await shown(id)).connections).toEqual({ rights: [] });
  const { events } = await service.org.client.audit.listAuditEvents({ pageSize: 1000 });
  const event = events.find(({ target, action }) => target === id && action === "api_key.update")!;
  expect(event.details).toMatchObject({
    before: {
      connections: [{ connection: { slug: "aml" }, methods: ["GET", "POST"], pathPrefixes: ["/v1"] }, {}, {}],
    },
    after: { connections: [] },
  });
});

test.each<[string, object, RegExp]>([
  ["names no connection", {}, /^connections\.rights\[0\]: give one of slug, id, tag/],
  ["names two", { slug: "aml", tag: "kyc" }, /./],
  ["has a tag with a line break", { tag: "k\nyc" }, /^connections\.rights\[0\]\.tag: must be one line/],
  ["has no tag", { tag: "" }, /^connections\.rights\[0\]\.tag: must be one line/],
  [
    "has a method in lower case",
    { slug: "aml", methods: ["get"] },
    /^connections\.rights\[0\]\.methods\[0\]: /,
  ],
  ["has an unknown method", { slug: "aml", methods: ["TRACE"] }, /^connections\.rights\[0\]\.methods\[0\]: /],
  [
    "has an escaped prefix",
    { slug: "aml", pathPrefixes: ["/%761"] },
    /^connections\.rights\[0\]\.pathPrefixes\[0\]: /,
  ],
  ["has an unknown field", { slug: "aml", paths: ["/v1"] }, /paths/],
  ["has nine prefixes", { slug: "aml", pathPrefixes: Array(9).fill("/v1") }, /pathPrefixes/],
])("a right that %s is refused by name", async (_, right, text) => {
  const wanted = { name: "k", scopes, connections: { rights: [right] } };
  const { status, body } = await service.org.rest("POST", "/api/api-keys", wanted);
  expect([status, body.error]).toEqual([400, expect.stringMatching(text)]);
});

test("more rights than 32 are refused, and null is none", async () => {
  const create = (connections: unknown) =>
    service.org.rest("POST", "/api/api-keys", { name: "k", scopes, connections });
  expect((await create({ rights: Array(32).fill({ slug: "aml" }) })).status).toBe(201);
  expect((await create({ rights: Array(33).fill({ slug: "aml" }) })).status).toBe(400);
  expect((await create(null)).status).toBe(400);
  const { body } = await create({});
  expect(body.data.apiKey.connections).toEqual({ rights: [] });
});

test("a service principal uses no connection, so that a limited key may connect its sibling", async () => {
  const by = await issue(only({ slug: "bank-statement" }));
  const wanted = {
    serviceSlug: "bank-statement",
    baseUrl: "http://127.0.0.1:1",
    scopes: ["connections:use"],
  };
  expect((await by.rest("POST", "/api/service-connections", wanted)).status).toBe(201);
  const { apiKeys } = await service.org.client.apiKeys.listApiKeys({});
  const principal = apiKeys.find(({ kind }) => kind === "service_principal")!;
  expect(principal.connections?.rights).toEqual([]);
});
