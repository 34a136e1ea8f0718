import { type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { credentials } from "@grpc/grpc-js";
import { Agent, fetch } from "undici";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Health, type HealthCheckResponse } from "#gen/grpc/health/v1/health_pb.js";
import { clientsOver, type PatchbayClient, presentKey, reasonOf } from "#src/client/connect.ts";
import * as grpcJs from "#src/client/grpc-js.ts";
import { createGuard } from "#src/client/guard/guard.ts";
import { testTls } from "../net/support.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { missingNginx, type Nginx, startNginx } from "./nginx.ts";

let service: TestService;
let upstream: Upstream;
let nginx: Nginx;
beforeAll(async () => {
  if (missingNginx !== undefined) return;
  service = await startService({ trustedProxyHops: 1 });
  upstream = await startUpstream();
  const connection = { serviceSlug: "custom:ledger", baseUrl: upstream.url, apiKey: "the-ledgers-own-key" };
  await service.org.client.connections.upsertServiceConnection(connection);
  nginx = await startNginx(service.url);
});
afterAll(async () => {
  if (missingNginx !== undefined) return;
  for (const one of [nginx, upstream, service]) await one[Symbol.asyncDispose]();
});
beforeEach(({ skip }) => skip(missingNginx !== undefined, missingNginx));

const nodeOptions = { ca: testTls.cert };

type Protocol = (options: ReturnType<typeof optionsFor>) => Transport;

const protocols: [string, Protocol][] = [
  ["gRPC", createGrpcTransport],
  ["gRPC-Web", (options) => createGrpcWebTransport({ ...options, httpVersion: "1.1" })],
  ["gRPC-Web over HTTP/2", (options) => createGrpcWebTransport({ ...options, httpVersion: "2" })],
  ["Connect", (options) => createConnectTransport({ ...options, httpVersion: "1.1" })],
  ["Connect over HTTP/2", (options) => createConnectTransport({ ...options, httpVersion: "2" })],
];

function optionsFor(apiKey: string) {
  return { baseUrl: nginx.url, nodeOptions, interceptors: [presentKey(apiKey)] };
}

describe.each(protocols)("through nginx, %s", (_, transport) => {
  const clientOf = (apiKey: string): PatchbayClient => clientsOver(transport(optionsFor(apiKey)));

  test("makes a call, and reads the reason of a refusal", async () => {
    expect((await clientOf(service.org.secret).apiKeys.whoAmI({})).name).toBe("admin");
    expect(await clientOf("made-up").apiKeys.whoAmI({}).catch(reasonOf)).toBe("INVALID_BEARER");
  });

  test("gets each message of a stream as soon as it is sent, and can leave the stream", async () => {
    const { apiKeys } = service.org.client;
    const { apiKey } = await apiKeys.createApiKey({ name: "short-lived", scopes: ["rules:view"] });
    const leaving = new AbortController();
    const changes = clientOf(service.org.secret).verification.watchRevocations(
      {},
      { signal: leaving.signal },
    );
    const heard: string[] = [];
    const listening = (async () => {
      for await (const { forgetAll, apiKeyIds } of changes) {
        // It is revoked once the first message is here, so one that was held back would never end.
        if (forgetAll) await apiKeys.revokeApiKey({ id: apiKey!.id });
        heard.push(...apiKeyIds);
        if (apiKeyIds.includes(apiKey!.id)) leaving.abort();
      }
    })();
    await expect(listening).rejects.toMatchObject({ rawMessage: "This operation was aborted" });
    expect(heard).toContain(apiKey!.id);
  });

  test("carries 3 MiB in each direction, and many kilobytes about what is wrong with a request", async () => {
    const sent = Buffer.alloc(3 * 1024 * 1024, "a");
    upstream.answer({
      headers: { "content-type": "application/octet-stream" },
      body: Buffer.alloc(sent.length, 0xff),
    });
    const { connections, apiKeys } = clientOf(service.org.secret);
    const { body } = await connections.callService({
      service: "custom:ledger",
      method: "POST",
      path: "/",
      body: { case: "raw", value: sent },
    });
    expect([body.case, (body.value as Uint8Array).length]).toStrictEqual(["raw", sent.length]);
    expect(upstream.asked.at(-1)?.body.length).toBe(sent.length);

    // Each is named in the text and in the details, and takes nine bytes a character where it is percent-encoded.
    const keys = Array.from({ length: 10 }, (_, i) => `${i}${"\u6f22".repeat(70)}`);
    const metadata = Object.fromEntries(keys.map((key) => [key, ""]));
    const wrong = apiKeys.createApiKey({ name: "wrong", scopes: ["rules:view"], metadata });
    expect(await wrong.catch(reasonOf)).toBe("INVALID_REQUEST");
  });

  test("is refused before the message is sent, if the key is not good", async () => {
    const call = { service: "custom:ledger", method: "POST", path: "/" };
    const value = Buffer.alloc(3 * 1024 * 1024);
    const refused = clientOf("made-up").connections.callService({ ...call, body: { case: "raw", value } });
    expect(await refused.catch(reasonOf)).toBe("INVALID_BEARER");
  });

  test("comes from the client's own address, whatever the client says about it", async () => {
    const headers = { "x-forwarded-for": "192.0.2.1" };
    const whoAmI = async (allowed: string) => {
      const key = { name: `from ${allowed}`, scopes: ["rules:view"], allowedCidrs: [allowed] };
      const { secret } = await service.org.client.apiKeys.createApiKey(key);
      return clientOf(secret).apiKeys.whoAmI({}, { headers });
    };
    expect((await whoAmI("127.0.0.1")).name).toBe("from 127.0.0.1");
    expect(await whoAmI("192.0.2.1").catch(reasonOf)).toBe("ADDRESS_NOT_ALLOWED");
  });
});

test("through nginx, REST answers as the service itself does, with %2F in a path and 12 KiB in a header", async () => {
  const dispatcher = new Agent({ connect: nodeOptions });
  const get = async (path: string, authorization: string) => {
    const headers = { authorization, "x-filler": "x".repeat(12 * 1024) };
    const response = await fetch(nginx.url + path, { dispatcher, headers });
    return { status: response.status, body: await response.json() };
  };
  const bearer = `Bearer ${service.org.secret}`;
  expect(await get("/api/auth/me", bearer)).toMatchObject({ status: 200, body: { data: { name: "admin" } } });
  expect(await get("/api/auth/me", "")).toStrictEqual({
    status: 401,
    body: { error: "missing or invalid Bearer" },
  });
  const direct = await service.org.rest("GET", "/api/api-keys/a%2Fb");
  expect(await get("/api/api-keys/a%2Fb", bearer)).toStrictEqual({
    status: direct.status,
    body: direct.body,
  });
  await dispatcher.close();
});

test("through nginx, @grpc/grpc-js watches the health, and is told when the service stops", async () => {
  await using other = await startService();
  await using proxy = await startNginx(other.url);
  const ssl = credentials.createSsl(testTls.cert);
  const health = grpcJs.createGrpcClient(Health, new URL(proxy.url).host, ssl);
  const watching = (health.watch({}) as AsyncIterable<HealthCheckResponse>)[Symbol.asyncIterator]();
  const next = async () => ((await watching.next()).value as HealthCheckResponse).status;
  expect(await next()).toBe(1);
  const closing = other.app.close(1_000);
  expect(await next()).toBe(2);
  await closing;
  health.close();
});

test("through nginx, a guard hears of a revocation while it answers from its cache", async () => {
  const { apiKeys } = service.org.client;
  const own = await apiKeys.createApiKey({ name: "guard", scopes: ["keys:verify"] });
  const { apiKey, secret } = await apiKeys.createApiKey({ name: "caller", scopes: ["rules:view"] });
  let asked = 0;
  const guard = createGuard({
    baseUrl: nginx.url,
    nodeOptions,
    apiKey: own.secret,
    interceptors: [
      (next) => (call) => {
        if (call.method.name === "VerifyKey") asked += 1;
        return next(call);
      },
    ],
  });
  const isAdmitted = async () => (await guard.verify({ key: secret })).principal !== undefined;
  await vi.waitUntil(
    async () => {
      const before = asked;
      return (await isAdmitted()) && asked === before;
    },
    { timeout: 50_000 },
  );
  await apiKeys.revokeApiKey({ id: apiKey!.id });
  await vi.waitUntil(async () => !(await isAdmitted()), { timeout: 50_000, interval: 5 });
  guard.close();
});
