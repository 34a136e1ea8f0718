import { fromJson, toBinary, type DescMethod, type JsonObject } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Reason } from "#gen/patchbay/errors/v1/errors_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { services } from "#src/client/services.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { insertOAuthConnection, oauth2 } from "../../support/oauth-grants.ts";
import { startUpstream, type Upstream } from "../../support/upstream.ts";
import { callConnect, callHttp2, frame, pathOf, settled } from "./calls.ts";
import type { Readable } from "./readable.ts";
import { startTwoWays, type Side, type TwoWays } from "./two-ways.ts";

const apiKeys = services.apiKeys.method;
const connections = services.connections.method;
const directory = services.directory.method;
const eventGroups = services.eventGroups.method;
const integrations = services.integrations.method;
const catalog = services.catalog.method;
const mebibyte = 1024 * 1024;
const credential = "the-siblings-own-key";

/** A root key that is kept elsewhere, and cannot be asked sometimes. */
const local = localRootKey(newRootKeyText());
let rootKeyIsAway = false;
const rootKey: typeof local = {
  ...local,
  unwrap: (wrapped, context) =>
    rootKeyIsAway ? Promise.reject(new Error("away")) : local.unwrap(wrapped, context),
};

let ways: TwoWays;
let upstream: Upstream;
beforeAll(async () => {
  ways = await startTwoWays({ rootKey });
  upstream = await startUpstream();
  upstream.answer(({ url }) =>
    url === "/large" ? { body: Buffer.alloc(11 * mebibyte, "a") } : { body: JSON.stringify({ credential }) },
  );
  for (const { service } of ways.sides) {
    const { client } = service.org;
    const there = { serviceSlug: "custom:there", baseUrl: upstream.url, apiKey: credential };
    await client.connections.upsertServiceConnection(there);
    const gone = { serviceSlug: "custom:gone", baseUrl: "http://127.0.0.1:9", apiKey: credential };
    await client.connections.upsertServiceConnection(gone);
  }
});
afterAll(async () => {
  await ways[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/** A call that is refused. */
interface Refused {
  readonly method: DescMethod;
  readonly message?: JsonObject;
  readonly secret?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: string;
}

const named = { name: "bot", scopes: ["other:view"] };
const clientOf = ({ service }: Side) => service.org.client;

async function newKey(side: Side, more: object = {}) {
  const { apiKey, secret } = await clientOf(side).apiKeys.createApiKey({ ...named, ...more });
  return { id: apiKey!.id, secret };
}

async function expired(side: Side) {
  const { clock } = side.service;
  const inAMinute = timestampFromDate(new Date(clock.now().getTime() + 60_000));
  const key = await newKey(side, { expiresAt: inAMinute });
  clock.advance(61_000);
  return key;
}

const call = (service: string, more: JsonObject = {}): Refused => ({
  method: connections.callService,
  message: { service, method: "GET", path: "/", ...more },
});

const action = (actionIdentifier: string): Refused => ({
  method: connections.callAction,
  message: { actionIdentifier },
});

const connect = (more: JsonObject): Refused => ({
  method: connections.upsertServiceConnection,
  message: { serviceSlug: "custom:new", baseUrl: "https://ledger.example", apiKey: "k", ...more },
});

/** Does not get what becomes of keys, of which there is an event first. */
const hook = { url: "https://shop.example", types: ["audit.webhook.*"] };

/** A legacy key, which only one organisation can have imported. */
const legacy = (id: string) => ({ ...named, environment: "sandbox", key: `aml_${id}` });

/** For each reason a call that has it, once what it needs is there. The caller is an administrator unless it says so. */
const provoked: Readonly<Record<string, (side: Side) => Refused | Promise<Refused>>> = {
  INVALID_BEARER: () => ({ method: apiKeys.whoAmI, secret: undefined }),
  KEY_EXPIRED: async (side) => ({ method: apiKeys.whoAmI, secret: (await expired(side)).secret }),
  MISSING_SCOPE: ({ keys }) => ({ method: directory.getUser, message: { id: "u" }, secret: keys.scopeless }),
  WRONG_ENVIRONMENT: () => ({ method: apiKeys.whoAmI, secret: newApiKeySecret("live") }),
  API_KEY_NOT_BOUND_TO_USER: () => ({ method: connections.deleteConnection, message: { id: "scn_missing" } }),
  CREDENTIALS_IN_URL: () => ({ method: apiKeys.whoAmI, query: "?access_token=x" }),
  INVALID_REQUEST: () => ({ method: directory.upsertUser, message: { email: "nonsense" } }),
  NOT_FOUND: () => ({ method: directory.getUser, message: { id: "usr_missing" } }),
  INVALID_SLUG: () => connect({ serviceSlug: "custom:Über" }),
  INVALID_BASE_URL: () => connect({ baseUrl: "ftp://ledger.example" }),
  INVALID_PATH: () => call("custom:there", { path: "/../etc" }),
  INVALID_OUTBOUND_REQUEST: () => call("custom:there", { headers: { "bad name": "a" } }),
  ADDRESS_DENIED: () => connect({ baseUrl: "http://10.0.0.1" }),
  CREDENTIAL_REQUIRED: () => ({
    ...connect({}),
    message: { serviceSlug: "custom:new", baseUrl: "https://a.example" },
  }),
  UNKNOWN_INTEGRATION: () => ({ method: integrations.getIntegration, message: { slug: "nowhere" } }),
  async INTEGRATION_IN_USE(side) {
    const { client } = side.service.org;
    const slug = "custom:used";
    const inject = { headers: { "X-Key": "{key}" } };
    const fields = [{ name: "key", secret: true }];
    const authMethods = [{ id: "key", type: "api_key", label: "Key", fields, inject }];
    await client.integrations.upsertIntegration({ slug, name: "Used", authMethods });
    const of = { serviceSlug: slug, baseUrl: upstream.url, apiKey: credential };
    await client.connections.upsertServiceConnection(of);
    return { method: integrations.deleteIntegration, message: { slug } };
  },
  CREDENTIAL_REJECTED: () => connect({ baseUrl: "http://127.0.0.1:9", verify: true }),
  async SLUG_TAKEN(side) {
    const taken = { serviceSlug: "custom:taken", baseUrl: upstream.url, apiKey: credential };
    await clientOf(side).connections.upsertServiceConnection(taken);
    return {
      method: connections.createConnection,
      message: {
        ...{ integration: "custom:taken", authMethod: "bearer", credentials: { token: credential } },
        ...{ baseUrl: upstream.url, serviceSlug: "custom:taken" },
      },
    };
  },
  async CONNECTION_INACTIVE(side) {
    const off = { serviceSlug: "custom:off", baseUrl: upstream.url, apiKey: credential };
    const { connection } = await clientOf(side).connections.upsertServiceConnection(off);
    await clientOf(side).connections.updateConnection({
      id: connection!.id,
      active: false,
      updateMask: { paths: ["active"] },
    });
    return call("custom:off");
  },
  async CONNECTION_NOT_ALLOWED(side) {
    const name = { case: "slug", value: "custom:there" } as const;
    const rights = [{ connection: name, pathPrefixes: ["/v1"] }];
    const { secret } = await newKey(side, { scopes: ["connections:use"], connections: { rights } });
    return { ...call("custom:there", { path: "/v10" }), secret };
  },
  async NOT_OWNER(side) {
    const { user } = await clientOf(side).directory.upsertUser({ email: "owner@example.com" });
    const { secret } = await newKey(side, { scopes: ["connections:write"], actAsUserId: user!.id });
    const { connection } = await side.service.as(secret).client.connections.createConnection({
      integration: "custom:hers",
      authMethod: "bearer",
      baseUrl: upstream.url,
      credentials: { token: credential },
      visibility: "owner",
    });
    return { method: connections.updateConnection, message: { id: connection!.id, active: true } };
  },
  IMPORT_REFUSED: () => ({
    method: catalog.importOpenApi,
    message: { slug: "custom:there", document: Buffer.from("not a document").toString("base64") },
  }),
  UNKNOWN_REVISION: () => ({ method: catalog.getRevision, message: { slug: "aml", revision: 7 } }),
  UNKNOWN_ACTION: () => action("custom:there/nothing"),
  INVALID_INPUT: () => action("custom:there/GET /{id}"),
  async AUTHORIZATION_NEEDED({ service: { postgres, org } }) {
    const method = oauth2({ tokenUrl: "http://127.0.0.1:9/token" });
    return call(await insertOAuthConnection(postgres, org.orgId, { method }));
  },
  async AUTHORIZATION_FAILED({ service: { postgres, org } }) {
    const method = oauth2({ issuer: "http://127.0.0.1:9", discover: true });
    const id = await insertOAuthConnection(postgres, org.orgId, { method });
    return { method: connections.startAuthorization, message: { id } };
  },
  async REFRESH_FAILED({ service: { postgres, org } }) {
    const method = oauth2({ grant: "client_credentials", tokenUrl: "http://127.0.0.1:9/token" });
    return call(await insertOAuthConnection(postgres, org.orgId, { method, status: "ACTIVE" }));
  },
  UPSTREAM_UNREACHABLE: () => call("custom:gone"),
  UPSTREAM_TOO_LARGE: () => call("custom:there", { path: "/large" }),
  CREDENTIAL_REFLECTED: () => call("custom:there", { path: "/echo" }),
  async API_KEY_REVOKED(side) {
    const { id } = await newKey(side);
    await clientOf(side).apiKeys.revokeApiKey({ id });
    return { method: apiKeys.rotateApiKey, message: { id } };
  },
  IMMUTABLE_FIELD: ({ service }) => ({
    method: apiKeys.updateApiKey,
    message: { id: service.org.apiKeyId, updateMask: "environment" },
  }),
  UNKNOWN_USER: () => ({ method: apiKeys.createApiKey, message: { ...named, actAsUserId: "usr_missing" } }),
  SELF_MODIFICATION: ({ service }) => ({
    method: apiKeys.updateApiKey,
    message: { id: service.org.apiKeyId, scopes: ["other:view"], updateMask: "scopes" },
  }),
  async RATE_LIMITED(side) {
    const { secret } = await newKey(side, { rateLimitPerMinute: 1 });
    await side.service.as(secret).client.apiKeys.whoAmI({});
    return { method: apiKeys.whoAmI, secret };
  },
  API_KEY_EXPIRED: async (side) => ({
    method: apiKeys.rotateApiKey,
    message: { id: (await expired(side)).id },
  }),
  async TOO_MANY_SECRETS(side) {
    const { id } = await newKey(side);
    for (let made = 1; made < 5; made += 1) await clientOf(side).apiKeys.rotateApiKey({ id });
    return { method: apiKeys.rotateApiKey, message: { id } };
  },
  async USER_CONFLICT(side) {
    await clientOf(side).directory.upsertUser({ email: "ada@example.com", externalId: "first" });
    return { method: directory.upsertUser, message: { email: "ada@example.com", externalId: "second" } };
  },
  async ADDRESS_NOT_ALLOWED(side) {
    const { secret } = await newKey(side, { allowedCidrs: ["192.0.2.0/24"] });
    return { method: apiKeys.whoAmI, secret };
  },
  async ALREADY_CREATED(side) {
    const headers = { "idempotency-key": randomBytes(8).toString("hex") };
    await clientOf(side).apiKeys.createApiKey(named, { headers });
    return { method: apiKeys.createApiKey, message: named, headers };
  },
  async IDEMPOTENCY_KEY_REUSED(side) {
    const headers = { "idempotency-key": randomBytes(8).toString("hex") };
    await clientOf(side).apiKeys.createApiKey(named, { headers });
    return { method: apiKeys.createApiKey, message: { ...named, name: "other" }, headers };
  },
  CALLER_SERVICE_RESERVED: () => ({
    method: apiKeys.createApiKey,
    message: { ...named, callerServiceSlug: "aml" },
  }),
  async KEY_ALREADY_IMPORTED({ service }) {
    const key = legacy(service.org.orgId);
    const presented = { case: "key", value: key.key } as const;
    // For the second protocol, it is imported already.
    await service.org.client.apiKeys.importKey({ ...key, presented }).catch(() => {});
    return { method: apiKeys.importKey, message: key };
  },
  async SECRET_IN_USE(side) {
    const { id, secret } = await newKey(side);
    await side.service.as(secret).client.apiKeys.whoAmI({});
    return { method: apiKeys.rotateApiKey, message: { id, replaceUnused: true } };
  },
  async SERVICE_PRINCIPAL(side) {
    await clientOf(side).connections.upsertServiceConnection({ serviceSlug: "aml", baseUrl: upstream.url });
    const all = await clientOf(side).apiKeys.listApiKeys({});
    const principal = all.apiKeys.find(
      ({ callerServiceSlug, revokedAt }) => callerServiceSlug !== undefined && revokedAt === undefined,
    );
    return { method: apiKeys.rotateApiKey, message: { id: principal!.id } };
  },
  async CHANNEL_HAS_NO_SOURCE(side) {
    const source = { case: "webhook", value: {} } as const;
    const { channel } = await clientOf(side).channels.createChannel({ name: "sent to", source });
    return { method: services.channels.method.resetChannel, message: { id: channel!.id } };
  },
  async ENDPOINT_PAUSED(side) {
    const { endpoint } = await clientOf(side).webhooks.createWebhookEndpoint(hook);
    // Makes the days that events are kept for, of which pausing is one.
    await side.service.app.loops.logs.runOnce();
    await clientOf(side).webhooks.pauseWebhookEndpoint({ id: endpoint!.id });
    const message = { id: endpoint!.id, log: "audit", seq: 1 };
    return { method: services.webhooks.method.redeliverEvent, message };
  },
  async EVENT_NOT_SELECTED(side) {
    const { endpoint } = await clientOf(side).webhooks.createWebhookEndpoint(hook);
    const message = { id: endpoint!.id, log: "audit", seq: 1 };
    return { method: services.webhooks.method.redeliverEvent, message };
  },
  async ROOT_KEY_UNAVAILABLE({ service }) {
    const { secret } = await service.newOrganization("globex");
    return { ...connect({ baseUrl: upstream.url }), secret };
  },
  async KEY_DESTROYED({ service }) {
    const { secret, orgId } = await service.newOrganization("initech");
    await service.postgres.asOwner("update org_keys set wrapped_key = null where org_id = $1", [orgId]);
    return { ...connect({ baseUrl: upstream.url }), secret };
  },
  async DELIVERY_OVER(side) {
    const groups = clientOf(side).eventGroups;
    const from = { case: "earliest", value: true } as const;
    const { group } = await groups.createEventGroup({ name: "workers", log: "audit", from });
    const { id } = group!;
    const [first] = (await groups.pullEvents({ id, max: 1 })).deliveries;
    const tokens = [first!.token];
    await groups.nackEvents({ id, tokens });
    return { method: eventGroups.ackEvents, message: { id, tokens } };
  },
  async INTERNAL() {
    return { method: directory.getUser, message: { id: "usr_missing" } };
  },
};

/** What the world does meanwhile. */
const meanwhile: Readonly<Record<string, (run: () => Promise<void>) => Promise<void>>> = {
  async ROOT_KEY_UNAVAILABLE(run) {
    rootKeyIsAway = true;
    try {
      await run();
    } finally {
      rootKeyIsAway = false;
    }
  },
  async INTERNAL(run) {
    const { postgres } = ways.sides[0].service;
    await postgres.asOwner("alter table users rename to users_gone");
    try {
      await run();
    } finally {
      await postgres.asOwner("alter table users_gone rename to users");
    }
  },
};

/** Why the others have no call here. */
const elsewhere: Readonly<Record<string, string>> = {
  UNKNOWN_PATH: "there is no method then; heads of grpc.test.ts and connect.test.ts",
  METHOD_NOT_ALLOWED: "heads of connect.test.ts",
  UNSUPPORTED_CONTENT_TYPE: "heads of connect.test.ts, compressions of grpc.test.ts",
  MESSAGE_TOO_LARGE: "bodies of both",
  DEADLINE_EXCEEDED: "endings.test.ts",
  CANCELED: "no client sees it; endings.test.ts",
  UPSTREAM_TIMEOUT: "takes half a minute, or is chance beside a deadline: test/outbound",
  FOUR_EYES_VIOLATION: "a verdict of VerifyKey, which is an answer: test/verification",
  WATCH_ENDED: "of a stream, which is Connect's both ways",
  CURSOR_OF_OTHER_LOG: "takes a channel: test/events",
  CURSOR_AHEAD: "takes a channel: test/events",
  STREAM_ENDED: "of a stream, which is Connect's both ways",
  TOO_MANY_STREAMS: "of a stream, which is Connect's both ways",
  TOO_MANY_CALLS: "takes a thousand calls at once: test/outbound/shares.test.ts",
  IMPORT_BUSY: "takes imports that wait: test/operations/import-turns.test.ts",
  INTAKE_UNAVAILABLE: "of events that come in, by no RPC: test/eventlog/intake.test.ts",
  QUOTA_EXHAUSTED: "of events that come in, by no RPC: test/eventlog/intake.test.ts",
  LOG_NOT_FOUND: "test/eventlog/retention.test.ts",
  INVALID_EVENT: "of senders to channels, by no RPC: test/channels/receiver.test.ts",
  UNKNOWN_SENDER: "of senders to channels, by no RPC: test/channels/receiver.test.ts",
  LOOP_DETECTED: "of senders to channels, by no RPC: test/channels/receiver.test.ts",
  SENDER_TOO_SLOW: "of senders to channels, by no RPC: test/channels/receiver-limits.test.ts",
  ORIGIN_NOT_ALLOWED: "of senders to channels, by no RPC: test/channels/receiver.test.ts",
  AUDIT_EXPIRED: "takes events of months ago: test/audit/retention.test.ts",
  WHOLE_RECORD_ONLY: "of the export, which is no method: test/audit/export.test.ts",
  CURSOR_EXPIRED: "test/eventlog/retention.test.ts",
  UPGRADE_REFUSED: "of the proxy, which is no method: test/calls/proxy",
  DATABASE_UNAVAILABLE: "outage.test.ts of this folder",
  OVERLOADED: "outage.test.ts of this folder",
};

test("every reason is provoked, or has a place where it is", () => {
  const all = Object.keys(Reason).filter((name) => Number.isNaN(Number(name)) && name !== "UNSPECIFIED");
  expect([...Object.keys(provoked), ...Object.keys(elsewhere)].toSorted()).toEqual(all.toSorted());
});

type Ask = (side: Side, requestId: string, refused: Refused) => Promise<Readable>;

const protocols: readonly (readonly [string, Ask])[] = [
  [
    "Connect",
    (side, id, { method, message = {}, secret, headers = {}, query }) => {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
      return callConnect(side, id, { method, body: JSON.stringify(message), secret, lines, query });
    },
  ],
  [
    "gRPC",
    (side, id, { method, message = {}, secret, headers = {}, query = "" }) => {
      const bytes = toBinary(method.input, fromJson(method.input, message));
      const all = { ":path": pathOf(method) + query, ...headers };
      return callHttp2(side, id, { method, secret, headers: all, steps: [frame(bytes), "end"] });
    },
  ],
];

describe.each(protocols)("over %s", (protocol, ask) => {
  test.each(Object.entries(provoked))("%s is told the same way both ways", async (reason, prepare) => {
    const refused = new Map<Side, Refused>();
    for (const side of ways.sides) {
      const { secret = side.keys.admin, ...rest } = await prepare(side);
      refused.set(side, { ...rest, secret: reason === "INVALID_BEARER" ? undefined : secret });
      await settled(side);
    }
    const compare = () =>
      ways.same(`${reason} ${protocol}`, async (side, id) => {
        const seen = await ask(side, id, refused.get(side)!);
        expect(JSON.stringify(seen)).toMatch(new RegExp(`reason[\\\\":]+${reason}\\b`));
        return seen;
      });
    await (meanwhile[reason] ?? ((run) => run()))(compare);
  });
});

test("both ways left the same metrics and the same audit rows", () => ways.sameLeftBehind());
