import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { Health, HealthCheckResponse_ServingStatus } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { callTo, type SlowUpstream, startSlowUpstream } from "./support.ts";

const MiB = 1024 * 1024;

let service: TestService;
let upstream: Upstream;
let slow: SlowUpstream;
/** Has no scope that connections need. */
let narrow: string;

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  slow = await startSlowUpstream();
  const { connections, apiKeys } = service.org.client;
  for (const [serviceSlug, { url: baseUrl }] of [
    ["custom:ledger", upstream],
    ["custom:slow", slow],
  ] as const) {
    await connections.upsertServiceConnection({ serviceSlug, baseUrl, apiKey: "a-siblings-own-key" });
  }
  narrow = (await apiKeys.createApiKey({ name: "narrow", scopes: ["audit:view"] })).secret;
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await slow[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const json = { useBinaryFormat: false };
const http1 = { httpVersion: "1.1" } as const;
const http2 = { httpVersion: "2" } as const;

type Options = Omit<Parameters<typeof createGrpcTransport>[0], "nodeOptions" | "sessionManager">;

const kinds: [name: string, transport: (options: Options) => Transport][] = [
  ["Connect over HTTP/1.1", (options) => createConnectTransport({ ...options, ...http1 })],
  ["Connect over HTTP/1.1 in JSON", (options) => createConnectTransport({ ...options, ...http1, ...json })],
  ["Connect over HTTP/2", (options) => createConnectTransport({ ...options, ...http2 })],
  ["Connect over HTTP/2 in JSON", (options) => createConnectTransport({ ...options, ...http2, ...json })],
  ["gRPC", (options) => createGrpcTransport(options)],
  ["gRPC in JSON", (options) => createGrpcTransport({ ...options, ...json })],
  ["gRPC-Web over HTTP/1.1", (options) => createGrpcWebTransport({ ...options, ...http1 })],
  ["gRPC-Web over HTTP/1.1 in JSON", (options) => createGrpcWebTransport({ ...options, ...http1, ...json })],
  ["gRPC-Web over HTTP/2", (options) => createGrpcWebTransport({ ...options, ...http2 })],
  ["gRPC-Web over HTTP/2 in JSON", (options) => createGrpcWebTransport({ ...options, ...http2, ...json })],
];

type Connect = (typeof kinds)[number][1];

function transportWith(
  connect: Connect,
  secret = service.org.secret,
  options: Partial<Options> = {},
): Transport {
  const present: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${secret}`);
    return next(request);
  };
  return connect({ baseUrl: service.url, interceptors: [present], ...options });
}

function connections(connect: Connect, options: Partial<Options> = {}): Client<typeof ConnectionService> {
  return createClient(ConnectionService, transportWith(connect, service.org.secret, options));
}

function text(bytes: number) {
  return { case: "text", value: "a".repeat(bytes) } as const;
}

describe.each(kinds)("connect-node with %s", (name, connect) => {
  test("asks who it is", async () => {
    const me = await createClient(ApiKeyService, transportWith(connect)).whoAmI({});
    expect(me).toMatchObject({ organizationId: service.org.orgId, apiKeyId: service.org.apiKeyId });
  });

  test("is told in words and as ErrorInfo which scope it lacks", async () => {
    const error = await failureOf(
      createClient(ConnectionService, transportWith(connect, narrow)).listConnections({}),
    );
    expect([error.code, error.rawMessage]).toStrictEqual([
      Code.PermissionDenied,
      "missing scope: connections:view",
    ]);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      { domain: "patchbay", reason: "MISSING_SCOPE", metadata: { scope: "connections:view" } },
    ]);
  });

  test("compresses what it sends with gzip, and takes an answer of 5 MiB", async () => {
    const [small, large] = [text(1 * MiB), text(5 * MiB)];
    upstream.answer({ headers: { "content-type": "text/plain" }, body: large.value });
    const gzip = { sendCompression: compressionGzip, acceptCompression: [compressionGzip] };
    const answer = await connections(connect, gzip).callService(callTo("custom:ledger", { body: small }));
    expect(upstream.asked.at(-1)!.body === small.value).toBe(true);
    expect(answer.body.value === large.value).toBe(true);
  });

  test("is told that a message is too large, compressed or not", async () => {
    for (const options of [{}, { sendCompression: compressionGzip }]) {
      const calling = connections(connect, options).callService(
        callTo("custom:ledger", { body: text(5 * MiB) }),
      );
      const error = await failureOf(calling);
      expect([error.code, error.rawMessage]).toStrictEqual([
        Code.ResourceExhausted,
        "the message is larger than 4 MiB",
      ]);
    }
  });

  test("cancels a call, which ends it also at the service behind", async () => {
    const path = `/cancel/${name.replace(/\W/g, "-")}`;
    const cancel = new AbortController();
    const options = { signal: cancel.signal };
    const calling = failureOf(connections(connect).callService(callTo("custom:slow", { path }), options));
    const behind = await slow.call(path);
    cancel.abort();
    expect((await calling).code).toBe(Code.Canceled);
    await behind.over;
  });

  test("watches the health until it cancels", async () => {
    const cancel = new AbortController();
    const health = createClient(Health, transportWith(connect, "none"));
    const seen: HealthCheckResponse_ServingStatus[] = [];
    const watching = async () => {
      for await (const { status } of health.watch({}, { signal: cancel.signal })) {
        seen.push(status);
        cancel.abort();
      }
    };
    expect((await failureOf(watching())).code).toBe(Code.Canceled);
    expect(seen).toStrictEqual([HealthCheckResponse_ServingStatus.SERVING]);
  });
});

test(
  "a deadline ends a call over each of them, also at the service behind",
  { timeout: 50_000 },
  async () => {
    const calls = kinds.map(async ([name, connect]) => {
      const path = `/deadline/${name.replace(/\W/g, "-")}`;
      const options = { timeoutMs: 1_500 };
      const calling = failureOf(connections(connect).callService(callTo("custom:slow", { path }), options));
      const behind = await slow.call(path);
      const { code } = await calling;
      await behind.over;
      return code;
    });
    expect(new Set(await Promise.all(calls))).toStrictEqual(new Set([Code.DeadlineExceeded]));
  },
);

const overHttp2 = kinds.filter(([name]) => !name.includes("HTTP/1.1"));

test.each(overHttp2)("a stream over %s carries questions and answers in turns", async (_, connect) => {
  const answered = Promise.withResolvers<void>();
  async function* questions() {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
    await answered.promise;
    yield { messageRequest: { case: "fileContainingSymbol", value: "grpc.health.v1.Health" } } as const;
  }
  const reflection = createClient(ServerReflection, transportWith(connect, "none"));
  const answers: (string | undefined)[] = [];
  for await (const { messageResponse } of reflection.serverReflectionInfo(questions())) {
    answers.push(messageResponse.case);
    answered.resolve();
  }
  expect(answers).toStrictEqual(["listServicesResponse", "fileDescriptorResponse"]);
});

test("a stream in both directions is refused over HTTP/1.1", async () => {
  const reflection = createClient(
    ServerReflection,
    createConnectTransport({ baseUrl: service.url, ...http1 }),
  );
  async function* question() {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  }
  const error = await failureOf(Array.fromAsync(reflection.serverReflectionInfo(question())));
  expect(error.rawMessage).toBe("HTTP 505");
});

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw error;
  }
  return expect.unreachable("the call should have failed");
}
