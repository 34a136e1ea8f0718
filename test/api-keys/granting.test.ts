import fc from "fast-check";
import { createHash, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UpdateApiKeyRequestSchema } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { startService, type Presenter, type RestReply, type TestService } from "../support/service.ts";

let service: TestService;
/** A user to bind keys to. */
let userId: string;
beforeAll(async () => {
  service = await startService();
  const { user } = await service.org.client.directory.upsertUser({ email: "mlro@example.com" });
  userId = user!.id;
});
afterAll(() => service[Symbol.asyncDispose]());

/** Scopes in every spelling that means something, and those that only look like wildcards. */
const spellings = [
  ...["read", "write", "api:grant", "api.grant", "api:manage", "api.manage", "connections:use"],
  ...["a:view", "a.view", "a.read", "a:read", "a:write", "a.write", "a:use", "a:manage"],
  ...["b:view", "b.read", "b:write", "a.b.read", "a.b:read", "a:b.write", "Write:view", "write:grant"],
  ...["verifications:view", "sar.write", "connections.write"],
];

/** What a scope is good for, by the requirement's words and not by the code's. */
function powersOf(scopes: readonly string[]): Set<string> {
  const all = new Set(spellings.map(nameOf));
  return new Set(
    scopes.flatMap((scope) => {
      const views = [...all].filter((name) => name.endsWith(":view"));
      const writes = [...all].filter((name) => name.endsWith(":write"));
      if (scope === "read") return ["read", ...views];
      if (scope === "write") return ["read", "write", ...views, ...writes];
      return [nameOf(scope)];
    }),
  );
}

/** One name for each meaning: the last separator parts the verb, and a colon counts before a dot. */
function nameOf(scope: string): string {
  if (!/[.:]/.test(scope)) return scope;
  const [, resource, verb] = (scope.includes(":") ? /^(.*):(.*)$/ : /^(.*)\.(.*)$/).exec(scope)!;
  return `${resource}:${verb === "read" && !scope.includes(":") ? "view" : verb}`;
}

async function issue(scopes: readonly string[]) {
  const { status, body } = await service.org.rest("POST", "/api/api-keys", { name: "k", scopes });
  expect(status).toBe(201);
  return { id: body.data.apiKey.id as string, ...service.as(body.data.secret as string) };
}

const keyOf = async (id: string) => (await service.org.client.apiKeys.getApiKey({ id })).apiKey!;

interface HandedOut {
  readonly by: Presenter;
  readonly scopes: readonly string[];
  /** A key that has the scopes already, and was never used. */
  readonly wide: string;
  /** One that has another scope. */
  readonly narrow: string;
}

interface Way {
  /** What the method itself takes. */
  readonly needs: string;
  /** What is handed out, where the request does not say it. */
  readonly gives?: readonly string[];
  readonly go: (what: HandedOut) => Promise<RestReply>;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const legacyKey = () => `aml_${sha256(randomUUID())}`;

/** All ways in which somebody comes to hold, or lets others hold, what a key may do. */
const ways: Record<string, Way> = {
  issue: manage(({ by, scopes }) => by.rest("POST", "/api/api-keys", { name: "k", scopes })),
  import: importing(() => ({ key: legacyKey() })),
  "import by hash": importing(() => ({ sha256: sha256(legacyKey()) })),
  widen: patching("narrow", ({ scopes }) => ({ scopes })),
  "widen and rename": patching("narrow", ({ scopes }) => ({ name: "x", scopes })),
  prolong: patching("wide", () => ({ expiresAt: "2100-01-01T00:00:00Z" })),
  "take the end away": patching("wide", () => ({ expiresAt: null })),
  bind: patching("wide", () => ({ actAsUserId: userId })),
  unbind: patching("wide", () => ({ actAsUserId: null })),
  "let in from elsewhere": patching("wide", () => ({ allowedCidrs: ["10.0.0.0/8"] })),
  "let in from anywhere": patching("wide", () => ({ allowedCidrs: [] })),
  rename: patching("wide", () => ({ name: "x" })),
  note: patching("wide", () => ({ metadata: { team: "x" } })),
  limit: patching("wide", () => ({ rateLimitPerMinute: 7 })),
  rotate: rotating({ graceSeconds: 0 }),
  "rotate as lost": rotating({ replaceUnused: true }),
  connect: connecting({ serviceSlug: "bank-statement" }),
  "connect as the catalog says": connecting({ serviceSlug: "aml" }, ["sar:write"]),
  "connect as it says to read": connecting({ serviceSlug: "identity" }, ["verifications:view"]),
};

function manage(go: Way["go"]): Way {
  return { needs: "api:manage", go };
}

function importing(presented: () => object): Way {
  const wanted = { name: "k", environment: "sandbox" };
  return manage(({ by, scopes }) =>
    by.rest("POST", "/api/api-keys/import", { ...wanted, scopes, ...presented() }),
  );
}

function patching(which: "wide" | "narrow", fields: (what: HandedOut) => object): Way {
  return manage((what) => what.by.rest("PATCH", `/api/api-keys/${what[which]}`, fields(what)));
}

function rotating(fields: object): Way {
  return manage(({ by, wide }) => by.rest("POST", `/api/api-keys/${wide}/rotate`, fields));
}

/** Whoever connects a service chooses where the principal's secret is sent. */
function connecting(fields: object, gives?: readonly string[]): Way {
  const wanted = { baseUrl: "http://127.0.0.1:1", ...fields };
  return {
    needs: "connections:write",
    ...(gives && { gives }),
    go: ({ by, scopes }) =>
      by.rest("POST", "/api/service-connections", gives ? wanted : { ...wanted, scopes }),
  };
}

const isSuccess = (status: number) => status < 300;

/** The scope for want of which it is refused; undefined if it is not. */
function firstMissing({ needs, gives }: Way, held: readonly string[], scopes: readonly string[]) {
  const powers = powersOf(held);
  if (!powers.has(needs)) return needs;
  if (powers.has("api:grant")) return undefined;
  return (gives ?? scopes).find((scope) => !powersOf([scope]).isSubsetOf(powers));
}

test("nobody issues, imports, changes, rotates or connects a key beyond what their own key may do", async () => {
  const some = (maxLength: number) =>
    fc.uniqueArray(fc.constantFrom(...spellings), { minLength: 1, maxLength });
  const managing = fc.constantFrom<string[][]>([], ["api:manage"], ["api.manage", "connections:write"]);
  const held = fc.tuple(managing, some(5)).map((scopes) => [...new Set(scopes.flat())]);
  await fc.assert(
    fc.asyncProperty(held, some(3), async (held, scopes) => {
      const by = await issue(held);
      const [{ id: wide }, { id: narrow }] = [await issue(scopes), await issue(["z:view"])];
      const before = [await keyOf(wide), await keyOf(narrow)];
      for (const [name, way] of Object.entries(ways)) {
        const { status, body } = await way.go({ by, scopes, wide, narrow });
        const missing = firstMissing(way, held, scopes);
        expect([name, status, body]).toStrictEqual(
          missing === undefined
            ? [name, expect.toSatisfy(isSuccess), { data: expect.anything() as unknown }]
            : [name, 403, { error: `missing scope: ${missing}` }],
        );
      }
      // All that would have changed these two has the same condition.
      if (firstMissing(ways.rotate!, held, scopes) === undefined) return;
      expect([await keyOf(wide), await keyOf(narrow)]).toStrictEqual(before);
    }),
    {
      numRuns: 20,
      // Those made up are mostly too wide. These are just wide enough, and one short of it.
      examples: [
        [
          ["api:manage", "connections:write", "write"],
          ["a.read", "b:write", "read"],
        ],
        [
          ["api:manage", "connections:write", "write", "a:use"],
          ["a:use", "b:view", "a:manage"],
        ],
        [
          ["api.manage", "connections.write", "api.grant"],
          ["write", "api:grant", "a:use"],
        ],
        [
          ["write", "sar:write"],
          ["a:view", "verifications:view"],
        ],
      ],
    },
  );
});

describe("of a key that it could not issue, a key with api:manage changes nothing", () => {
  /** Something else than what the key has, for each field. */
  const values: Record<string, () => unknown> = {
    name: () => "x",
    actAsUserId: () => userId,
    expiresAt: () => "2100-01-01T00:00:00Z",
    rateLimitPerMinute: () => 7,
    allowedCidrs: () => ["10.0.0.0/8"],
    metadata: () => ({ team: "x" }),
    connections: () => ({ rights: [] }),
  };
  // It says itself what the key has afterwards.
  const others = ["id", "update_mask", "scopes"];
  const fields = UpdateApiKeyRequestSchema.fields.filter(({ name }) => !others.includes(name));

  test.each(fields.map(({ jsonName }) => jsonName))("%s", async (field) => {
    const [manager, key] = [await issue(["api:manage", "a:view"]), await issue(["a:view", "b:view"])];
    const before = await keyOf(key.id);
    const change = (by: Presenter, value: unknown) =>
      by.rest("PATCH", `/api/api-keys/${key.id}`, { [field]: value });
    const { status, body } = await change(manager, values[field]!());
    expect([status, body]).toStrictEqual([403, { error: "missing scope: b:view" }]);
    expect((await change(manager, null)).status).toBeOneOf([400, 403]);
    expect(await keyOf(key.id)).toStrictEqual(before);
    expect((await change(service.org, values[field]!())).status).toBe(200);
    expect(await keyOf(key.id)).not.toStrictEqual(before);
  });

  test("but it can take scopes away that it could not give, and revoke it", async () => {
    const [manager, key] = [await issue(["api:manage", "a:view"]), await issue(["a:view", "b:view"])];
    expect((await manager.rest("PATCH", `/api/api-keys/${key.id}`, { scopes: ["a:view"] })).status).toBe(200);
    const wider = await issue(["b:view"]);
    expect((await manager.rest("DELETE", `/api/api-keys/${wider.id}`)).status).toBe(200);
  });

  test("nor the limit of a service principal", async () => {
    const { connections } = service.org.client;
    await connections.upsertServiceConnection({
      serviceSlug: "aml",
      baseUrl: "http://127.0.0.1:1",
      scopes: ["b:view"],
    });
    const { apiKeys } = await service.org.client.apiKeys.listApiKeys({});
    const principal = apiKeys.find(
      ({ name, revokedAt }) => name.startsWith("aml ") && revokedAt === undefined,
    )!;
    const change = { rateLimitPerMinute: 7 };
    const path = `/api/api-keys/${principal.id}`;
    const manager = await issue(["api:manage", "a:view"]);
    const refused = await manager.rest("PATCH", path, change);
    expect([refused.status, refused.body]).toStrictEqual([403, { error: "missing scope: b:view" }]);
    expect((await service.org.rest("PATCH", path, change)).status).toBe(200);
  });
});
