import type { DescMethod, DescMethodUnary } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { createHash, randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { reasonOf } from "#src/client/node.ts";
import { services } from "#src/client/services.ts";
import { openConnection } from "#src/db/connection.ts";
import { takesIdempotencyKey } from "#src/pipeline/policy.ts";
import { bankDocument } from "../support/bank-document.ts";
import { insertOAuthConnection, oauth2 } from "../support/oauth-grants.ts";
import { ownDescriptors } from "../support/own-descriptors.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  upstream.answer({ body: bankDocument("GET /a") });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

const day = 24 * 60 * 60 * 1000;
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const create = { name: "k", scopes: ["a:view"] };

/** Posts with an Idempotency-Key. */
async function post(path: string, name: string, body: unknown, by: Presenter = service.org) {
  const { status, headers, body: answer } = await by.rest("POST", path, body, { "idempotency-key": name });
  return { status, reason: headers.get("x-error-reason"), body: answer };
}

async function issue(fields: Record<string, unknown> = {}, by: Presenter = service.org) {
  const { body } = await by.rest("POST", "/api/api-keys", { ...create, ...fields });
  return { id: body.data.apiKey.id as string, ...service.as(body.data.secret as string) };
}

async function eventsOf(target: string, by: Presenter = service.org) {
  return (await by.client.audit.listAuditEvents({ target })).events.map(({ action }) => action);
}

async function keyCount(): Promise<number> {
  return (await service.org.client.apiKeys.listApiKeys({})).apiKeys.length;
}

interface Method {
  readonly path: string;
  readonly body: Record<string, unknown>;
  readonly action: string;
}

const methods: [string, () => Promise<Method>][] = [
  ["issuing", async () => ({ path: "/api/api-keys", body: create, action: "api_key.create" })],
  [
    "importing",
    async () => ({
      path: "/api/api-keys/import",
      body: { ...create, environment: "sandbox", key: `aml_${sha256(randomUUID())}` },
      action: "api_key.import",
    }),
  ],
  [
    "rotating",
    async () => ({
      path: `/api/api-keys/${(await issue()).id}/rotate`,
      body: { graceSeconds: 60 },
      action: "api_key.rotate",
    }),
  ],
];

describe.each(methods)("%s with an Idempotency-Key", (_, prepare) => {
  test("has one effect, and a retry is told what was made and what to do next", async () => {
    const { path, body, action } = await prepare();
    const name = randomUUID();
    const first = await post(path, name, body);
    expect(first.status).toBeLessThan(300);
    const { id } = first.body.data.apiKey as { id: string };
    const before = await keyCount();
    const again = await post(path, name, body);
    expect([again.status, again.reason, again.body]).toStrictEqual([
      409,
      "ALREADY_CREATED",
      { error: expect.stringMatching(new RegExp(`^already created: .*${id}.*;`)) as string },
    ]);
    expect(await keyCount()).toBe(before);
    expect((await eventsOf(id)).filter((one) => one === action)).toStrictEqual([action]);
    expect((await service.org.client.apiKeys.getApiKey({ id })).apiKey!.secrets).toHaveLength(
      action === "api_key.rotate" ? 2 : 1,
    );
  });

  test("is one effect of forty that are sent at once", async () => {
    const { path, body, action } = await prepare();
    const before = await keyCount();
    const name = randomUUID();
    const replies = await Promise.all(Array.from({ length: 40 }, () => post(path, name, body)));
    const done = replies.filter(({ status }) => status < 300);
    expect(done).toHaveLength(1);
    expect(replies.filter(({ reason }) => reason === "ALREADY_CREATED")).toHaveLength(39);
    const { id } = done[0]!.body.data.apiKey as { id: string };
    expect((await eventsOf(id)).filter((one) => one === action)).toStrictEqual([action]);
    expect(await keyCount()).toBe(before + (action === "api_key.rotate" ? 0 : 1));
  });

  test("refuses another request of that name, until 24 hours have passed", async () => {
    const { path, body } = await prepare();
    const name = randomUUID();
    expect((await post(path, name, body)).status).toBeLessThan(300);
    const other = { ...body, ...("graceSeconds" in body ? { graceSeconds: 61 } : { name: "other" }) };
    const elsewhere = (await prepare()).path;
    const before = await keyCount();
    expect((await post(path, name, other)).reason).toBe("IDEMPOTENCY_KEY_REUSED");
    if (elsewhere !== path) expect((await post(elsewhere, name, body)).reason).toBe("IDEMPOTENCY_KEY_REUSED");
    service.clock.advance(day - 1);
    expect((await post(path, name, other)).reason).toBe("IDEMPOTENCY_KEY_REUSED");
    expect((await post(path, name, body)).reason).toBe("ALREADY_CREATED");
    expect(await keyCount()).toBe(before);
    service.clock.advance(1);
    const { path: free, body: fresh } = await prepare();
    expect((await post(free, name, fresh)).status).toBeLessThan(300);
  });

  test.each([
    ["an empty name", ""],
    ["256 characters", "x".repeat(256)],
    ["a space", "a b"],
    ["a comma and a space, as which two headers arrive", "a, a"],
    ["letters beyond ASCII", "n\xe4me"],
  ])("refuses %s with 400", async (_, name) => {
    const { path, body } = await prepare();
    const reply = await post(path, name, body);
    expect([reply.status, reply.body]).toStrictEqual([
      400,
      { error: "idempotency-key: give one header, of 1 to 255 visible ASCII characters" },
    ]);
  });
});

test("two headers on the wire are refused, also if they say the same", async () => {
  const headers = ["authorization", `Bearer ${service.org.secret}`, "content-type", "application/json"];
  const names = ["idempotency-key", "one", "Idempotency-Key", "one"];
  const status = await new Promise((resolve, reject) => {
    const asked = httpRequest(`${service.url}/api/api-keys`, {
      method: "POST",
      headers: [...headers, ...names],
    });
    asked.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("error", reject);
    asked.end(JSON.stringify(create));
  });
  expect(status).toBe(400);
});

test("a name of 255 characters will do", async () => {
  expect((await post("/api/api-keys", "~".repeat(255), create)).status).toBe(201);
  expect((await post("/api/api-keys", "~".repeat(255), create)).reason).toBe("ALREADY_CREATED");
});

test("a retry is known over whichever protocol it comes, and in whichever order its maps are written", async () => {
  const name = randomUUID();
  const headers = { "idempotency-key": name };
  const metadata = { team: "payments", "1": "one", stage: "x" };
  const { apiKeys } = service.org.client;
  const { apiKey } = await apiKeys.createApiKey({ ...create, metadata }, { headers });
  const overGrpc = await apiKeys
    .createApiKey({ ...create, metadata }, { headers })
    .then(undefined, (error: unknown) => error as ConnectError);
  expect(reasonOf(overGrpc)).toBe("ALREADY_CREATED");
  expect((overGrpc as ConnectError).code).toBe(Code.AlreadyExists);
  expect((overGrpc as ConnectError).findDetails(ErrorInfoSchema)[0]!.metadata).toStrictEqual({
    id: apiKey!.id,
  });
  const turned = { metadata: { stage: "x", "1": "one", team: "payments" }, ...create };
  expect((await post("/api/api-keys", name, turned)).reason).toBe("ALREADY_CREATED");
  const connect = await post("/patchbay.apikeys.v1.ApiKeyService/CreateApiKey", name, turned);
  expect([connect.status, connect.body]).toMatchObject([
    409,
    { code: "already_exists", message: expect.stringMatching(/^already created/) as string },
  ]);
  const other = apiKeys.createApiKey({ ...create, metadata: { ...metadata, stage: "y" } }, { headers });
  expect(await other.then(undefined, reasonOf)).toBe("IDEMPOTENCY_KEY_REUSED");
  const twice = new Headers([["idempotency-key", "a"], ["idempotency-key", "a"]]); // prettier-ignore
  const refused = apiKeys.createApiKey(create, { headers: twice });
  expect(await refused.then(undefined, reasonOf)).toBe("INVALID_REQUEST");
});

test("a name that stands for one method does not stand for another", async () => {
  const name = randomUUID();
  const { id } = await issue();
  await post("/api/api-keys", name, create);
  const imported = { ...create, environment: "sandbox", sha256: sha256(name) };
  expect((await post("/api/api-keys/import", name, imported)).reason).toBe("IDEMPOTENCY_KEY_REUSED");
  expect((await post(`/api/api-keys/${id}/rotate`, name, {})).reason).toBe("IDEMPOTENCY_KEY_REUSED");
});

test("a request that failed leaves nothing behind, and may be mended under its name", async () => {
  const name = randomUUID();
  const { id } = await issue();
  const manager = await issue({ scopes: ["api:manage"] });
  const key = `aml_${sha256(name)}`;
  await service.org.rest("POST", "/api/api-keys/import", { ...create, environment: "sandbox", key });
  for (const [path, body, reason] of [
    ["/api/api-keys", { ...create, name: "" }, "INVALID_REQUEST"],
    ["/api/api-keys", { ...create, scopes: ["none"] }, "INVALID_REQUEST"],
    ["/api/api-keys", create, "MISSING_SCOPE"],
    ["/api/api-keys", { ...create, scopes: ["api:manage"], actAsUserId: "usr_x" }, "UNKNOWN_USER"],
    ["/api/api-keys/key_nobody/rotate", {}, "NOT_FOUND"],
    [`/api/api-keys/${id}/rotate`, {}, "MISSING_SCOPE"],
    ["/api/api-keys/import", { ...create, scopes: ["api:manage"], environment: "sandbox", key }, "KEY_ALREADY_IMPORTED"], // prettier-ignore
  ] as const) {
    expect((await post(path, name, body, manager)).reason).toBe(reason);
  }
  const mended = await post("/api/api-keys", name, { ...create, scopes: ["api:manage"] }, manager);
  expect(mended.status).toBe(201);
});

test("a retry is one whatever has happened since, such as the end of what was made", async () => {
  const expiresAt = new Date(service.clock.now().getTime() + 60_000).toISOString();
  const name = randomUUID();
  const { body } = await post("/api/api-keys", name, { ...create, expiresAt });
  service.clock.advance(60_000);
  expect((await post("/api/api-keys", name, { ...create, expiresAt })).reason).toBe("ALREADY_CREATED");
  await service.org.rest("DELETE", `/api/api-keys/${body.data.apiKey.id}`);
  expect((await post("/api/api-keys", name, { ...create, expiresAt })).reason).toBe("ALREADY_CREATED");
});

test("a retry of a request whose commit was lost on its way is told what came of it", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using behind = await startService({ postgres: { ...postgres, url: proxy.url } });
  await postgres.asOwner(`create function wait_to_commit() returns trigger language plpgsql as $$ begin
    perform pg_advisory_xact_lock(42); return null; end $$`);
  await postgres.asOwner(`create constraint trigger wait_to_commit after insert on api_key_secrets
    deferrable initially deferred for each row execute function wait_to_commit()`);
  await using holder = openConnection(postgres.url, {});
  await holder.run("select pg_advisory_lock(42)");
  const { apiKeys } = behind.org.client;
  const issue = () => apiKeys.createApiKey(create, { headers: { "idempotency-key": "once" } });
  const first = issue().catch((error: unknown) => error as ConnectError);
  const waiting =
    "select from pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
  await expect.poll(() => postgres.asOwner(waiting), { interval: 5 }).toHaveLength(1);
  proxy.holdAnswers();
  await holder.run("select pg_advisory_unlock(42)");
  await expect.poll(() => postgres.asOwner(waiting), { interval: 5 }).toHaveLength(0);
  const made = () => postgres.asOwner("select id from api_keys where name = $1", [create.name]);
  await expect.poll(made, { interval: 5 }).toHaveLength(1);
  proxy.cut();
  expect(await first).toMatchObject({
    code: Code.Unavailable,
    rawMessage: expect.stringMatching(/not known/),
  });

  const again = await issue().catch((error: unknown) => error as ConnectError);
  const [{ id }] = (await made()) as unknown as [{ id: string }];
  expect(reasonOf(again)).toBe("ALREADY_CREATED");
  expect((again as ConnectError).rawMessage).toContain(id);
  expect(await made()).toHaveLength(1);
});

test("a retry is answered to nobody who may not make the request any more", async () => {
  const caller = await issue({ scopes: ["api:manage"] });
  const name = randomUUID();
  const wanted = { ...create, scopes: ["api:manage"] };
  expect((await post("/api/api-keys", name, wanted, caller)).status).toBe(201);
  await service.org.rest("PATCH", `/api/api-keys/${caller.id}`, { scopes: ["a:view"] });
  expect((await post("/api/api-keys", name, wanted, caller)).reason).toBe("MISSING_SCOPE");
  await service.org.rest("DELETE", `/api/api-keys/${caller.id}`);
  expect((await post("/api/api-keys", name, wanted, caller)).reason).toBe("INVALID_BEARER");
});

test("names are each caller's own, and a caller keeps its own over a rotation", async () => {
  const name = randomUUID();
  const [one, two] = [await issue({ scopes: ["api:manage"] }), await issue({ scopes: ["api:manage"] })];
  const theirs = await service.newOrganization("globex");
  const wanted = { ...create, scopes: ["api:manage"] };
  for (const by of [one, two, theirs]) {
    expect((await post("/api/api-keys", name, wanted, by)).status).toBe(201);
  }
  const rotated = await service.org.rest("POST", `/api/api-keys/${one.id}/rotate`, { graceSeconds: 0 });
  const renewed = service.as(rotated.body.data.secret as string);
  expect((await post("/api/api-keys", name, wanted, renewed)).reason).toBe("ALREADY_CREATED");
});

test("keys that rotate themselves at once, each under a name, do not wait for each other for ever", async () => {
  const own = await issue({ scopes: ["api:manage"] });
  const replies = await Promise.all(
    Array.from({ length: 4 }, () => post(`/api/api-keys/${own.id}/rotate`, randomUUID(), {}, own)),
  );
  expect(replies.map(({ status }) => status)).toStrictEqual([200, 200, 200, 200]);
});

async function connect(): Promise<string> {
  const wanted = { serviceSlug: `custom:${randomUUID()}`, baseUrl: "http://127.0.0.1:9", apiKey: "k" };
  const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
  return connection!.id;
}

const hook = { url: "http://127.0.0.1:9/hooks", types: ["audit.*"] };

async function hookId(): Promise<string> {
  return (await service.org.client.webhooks.createWebhookEndpoint(hook)).endpoint!.id;
}

/** One that gives up an event at its first failure. */
async function newGroup(): Promise<string> {
  const wanted = { name: "workers", log: "audit", maxDeliveries: 1 };
  const from = { case: "earliest" as const, value: true };
  const { group } = await service.org.client.eventGroups.createEventGroup({ ...wanted, from });
  return group!.id;
}

function documentOf(operation: string) {
  return { source: { case: "document" as const, value: Uint8Array.from(bankDocument(operation)) } };
}

async function newChannel(): Promise<string> {
  const wanted = { name: "hooks", source: { case: "webhook", value: {} } } as const;
  return (await service.org.client.channels.createChannel(wanted)).channel!.id;
}

/** A request for each method that takes the header. A new one needs one here. */
const requests: Record<string, () => Promise<object>> = {
  CreateApiKey: async () => create,
  ImportKey: async () => ({
    ...create,
    environment: "sandbox",
    presented: { case: "sha256", value: sha256(randomUUID()) },
  }),
  RotateApiKey: async () => ({ id: (await issue()).id }),
  EndApiKeyGrace: async () => {
    const { id } = await issue();
    await service.org.client.apiKeys.rotateApiKey({ id });
    return { id };
  },
  UpsertServiceConnection: async () => ({
    serviceSlug: `custom:${randomUUID()}`,
    baseUrl: "https://a.example",
    apiKey: "k",
  }),
  CreateConnection: async () => ({
    integration: "custom:made",
    authMethod: "bearer",
    baseUrl: "https://a.example",
    credentials: { token: "k" },
  }),
  TestConnection: async () => ({ id: await connect() }),
  CheckCredential: async () => ({ id: await connect(), apiKey: "k" }),
  StartAuthorization: async () => {
    const urls = { authorizationUrl: "http://127.0.0.1:9/a", tokenUrl: "http://127.0.0.1:9/t" };
    const { postgres, org } = service;
    return { id: await insertOAuthConnection(postgres, org.orgId, { method: oauth2(urls) }) };
  },
  UpsertUser: async () => ({ email: `${randomUUID()}@a.example` }),
  ImportOpenApi: async () => ({ slug: `custom:${randomUUID()}`, ...documentOf("GET /a") }),
  ImportGrpc: async () => ({
    slug: `custom:${randomUUID()}`,
    source: { case: "descriptorSet", value: ownDescriptors() },
  }),
  ActivateRevision: async () => {
    const slug = `custom:${randomUUID()}`;
    for (const path of ["/a", "/b"]) {
      await service.org.client.catalog.importOpenApi({ slug, ...documentOf(`GET ${path}`) });
    }
    return { slug, revision: 1 };
  },
  RefreshCatalog: async () => {
    const slug = `custom:${randomUUID()}`;
    const wanted = { serviceSlug: slug, baseUrl: upstream.url, apiKey: "k" };
    await service.org.client.connections.upsertServiceConnection(wanted);
    return { slug, apply: true };
  },
  CreateWebhookEndpoint: async () => hook,
  PauseWebhookEndpoint: async () => {
    // Makes the days that events are kept for, of which pausing is one.
    await service.app.loops.logs.runOnce();
    return { id: await hookId() };
  },
  ResumeWebhookEndpoint: async () => ({ id: await hookId(), from: { case: "now", value: true } }),
  RotateWebhookSecret: async () => ({ id: await hookId(), graceSeconds: 0 }),
  TestWebhookEndpoint: async () => ({ id: await hookId() }),
  ReplayEvents: async () => ({ id: await hookId(), log: "audit", fromSeq: 1n, toSeq: 1n }),
  RedeliverEvent: async () => ({ id: await hookId(), log: "audit", seq: 1n }),
  CreateChannel: async () => ({ name: "hooks", source: { case: "webhook", value: {} } }),
  PauseChannel: async () => ({ id: await newChannel() }),
  ResumeChannel: async () => {
    const id = await newChannel();
    await service.org.client.channels.pauseChannel({ id });
    return { id };
  },
  ResetChannel: async () => {
    const source = { case: "sse", value: { connection: await connect() } } as const;
    const { channel } = await service.org.client.channels.createChannel({ name: "feed", source });
    return { id: channel!.id };
  },
  RotateChannelSecret: async () => ({ id: await newChannel() }),
  TestChannel: async () => ({ id: await newChannel() }),
  CreateEventGroup: async () => ({ name: "workers", log: "audit" }),
  SeekEventGroup: async () => ({ id: await newGroup(), from: { case: "latest", value: true } }),
  RedeliverEvents: async () => {
    const id = await newGroup();
    const { deliveries } = await service.org.client.eventGroups.pullEvents({ id, max: 1 });
    const [{ token, event }] = deliveries as [(typeof deliveries)[0]];
    await service.org.client.eventGroups.nackEvents({ id, tokens: [token] });
    return { id, seqs: [event!.seq] };
  },
  // A second call is refused for its key, before it is known as a repetition.
  RevokeOwnApiKey: async () => ({}),
};

describe("every audited POST of every feature has no second effect under one name:", () => {
  const posts = Object.values(services)
    .flatMap(({ methods }): readonly DescMethod[] => methods)
    .filter((method): method is DescMethodUnary => method.methodKind === "unary")
    .filter(takesIdempotencyKey);

  test.each(posts.map((method) => [method.name, method] as const))("%s", async (name, method) => {
    const makeRequest = requests[name];
    if (makeRequest === undefined) throw new Error(`give a request for ${name}`);
    const request = await makeRequest();
    const by = name === "RevokeOwnApiKey" ? await issue({ scopes: ["api:manage"] }) : service.org;
    const transport = createGrpcTransport({ baseUrl: service.url });
    const headers = { authorization: `Bearer ${by.secret}`, "idempotency-key": randomUUID() };
    const call = () => transport.unary(method, undefined, undefined, headers, request as never);
    await call();
    // That a revoked key is still used is noted as well, and is no effect of the call.
    const statement = "select count(*)::int as n from audit_events where action not like 'api_key.used%'";
    const count = async () => (await service.postgres.asOwner(statement))[0]?.["n"];
    const events = await count();
    const again = await call().catch((error: unknown) => error);
    expect(reasonOf(again)).toBe(name === "RevokeOwnApiKey" ? "INVALID_BEARER" : "ALREADY_CREATED");
    expect(await count()).toBe(events);
  });
});

test("methods that are no POST or leave no event, such as calls through connections, do not look at the header", async () => {
  const { id, secret } = await issue();
  const headers = { "idempotency-key": "not a name" };
  const called = await post("/api/service-calls", "not a name", { service: "custom:none", method: "POST" });
  expect(called.reason).toBe("NOT_FOUND");
  expect((await post("/api/api-keys/verify", "not a name", { key: secret })).status).toBe(200);
  await service.org.client.apiKeys.updateApiKey({ id, name: "x" }, { headers });
  await service.org.client.apiKeys.updateApiKey({ id, name: "x" }, { headers });
  await service.org.client.apiKeys.revokeApiKey({ id }, { headers });
});

test("what is older than 24 hours goes bit by bit, and only of the organisation that is at work", async () => {
  const theirs = await service.newOrganization("globex");
  const old = new Date(service.clock.now().getTime() - day);
  const fresh = new Date(old.getTime() + 1);
  const insert = `insert into idempotent_requests
    select $1, $2, $3 || n, '\\x00', 'key_x', $4::timestamptz from generate_series(1, $5) n`;
  const { postgres, org } = service;
  await postgres.asOwner("delete from idempotent_requests");
  await postgres.asOwner(insert, [org.orgId, `api_key/${org.apiKeyId}`, "old", old.toISOString(), 150]);
  await postgres.asOwner(insert, [org.orgId, `api_key/${org.apiKeyId}`, "fresh", fresh.toISOString(), 5]);
  await postgres.asOwner(insert, [theirs.orgId, `api_key/${theirs.apiKeyId}`, "old", old.toISOString(), 5]);
  const left = async (orgId: string) => {
    const rows = await postgres.asOwner("select 1 from idempotent_requests where org_id = $1", [orgId]);
    return rows.length;
  };
  await post("/api/api-keys", randomUUID(), create);
  expect(await left(org.orgId)).toBe(50 + 5 + 1);
  await Promise.all([1, 2, 3].map(() => post("/api/api-keys", randomUUID(), create)));
  expect([await left(org.orgId), await left(theirs.orgId)]).toStrictEqual([5 + 4, 5]);
});

test("neither the name nor the request is kept, since either may be a key", async () => {
  const key = `aml_canary${sha256(randomUUID())}`;
  const wanted = { ...create, environment: "sandbox", key };
  expect((await post("/api/api-keys/import", key, wanted)).status).toBe(201);
  const again = await post("/api/api-keys/import", key, wanted);
  expect(again.reason).toBe("ALREADY_CREATED");
  const rows = await service.postgres.asOwner(
    `select t::text, encode(request_hash, 'hex') as hash from idempotent_requests t`,
  );
  const kept = JSON.stringify([rows, again.body]) + service.logged();
  expect(rows.length).toBeGreaterThan(0);
  const traces = ["aml_canary", Buffer.from("aml_canary").toString("hex"), sha256(key)];
  expect(traces.filter((trace) => kept.includes(trace))).toStrictEqual([]);
});
