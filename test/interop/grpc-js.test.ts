import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { compressionAlgorithms, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
} from "#gen/grpc/health/v1/health_pb.js";
import {
  createGrpcClient,
  createPatchbayClient,
  type PatchbayClient,
  reasonOf,
} from "#src/client/grpc-js.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { callTo, type SlowUpstream, startSlowUpstream } from "./support.ts";

const MiB = 1024 * 1024;

let service: TestService;
let upstream: Upstream;
let slow: SlowUpstream;
let client: PatchbayClient;
const opened: { close(): void }[] = [];

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  slow = await startSlowUpstream();
  client = patchbay();
  for (const [serviceSlug, { url: baseUrl }] of [
    ["custom:ledger", upstream],
    ["custom:slow", slow],
  ] as const) {
    await client.connections.upsertServiceConnection({ serviceSlug, baseUrl, apiKey: "a-siblings-own-key" });
  }
});
afterAll(async () => {
  for (const one of opened) one.close();
  await upstream[Symbol.asyncDispose]();
  await slow[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

function patchbay(apiKey = service.org.secret, channelOptions = {}): PatchbayClient {
  const address = new URL(service.url).host;
  const made = createPatchbayClient({
    address,
    credentials: credentials.createInsecure(),
    apiKey,
    channelOptions,
  });
  opened.push(made);
  return made;
}

async function failureOf(call: Promise<unknown>): Promise<ServiceError> {
  return call.then(
    () => expect.unreachable("the call should have failed"),
    (error: ServiceError) => error,
  );
}

test("the typed client registers, calls through a connection, and reads the audit", async () => {
  upstream.answer({ headers: { "content-type": "text/plain" }, body: "balance: 7" });
  const answer = await client.connections.callService(
    callTo("custom:ledger", { method: "GET", path: "/balance" }),
  );
  expect(answer).toMatchObject({ status: 200, body: { case: "text", value: "balance: 7" } });
  const { events } = await client.audit.listAuditEvents({});
  expect(events.map(({ action }) => action)).toContain("connection.create");
});

describe("a refusal", () => {
  test("is read letter by letter, with its code and its ErrorInfo", async () => {
    const { secret } = await client.apiKeys.createApiKey({ name: "narrow", scopes: ["audit:view"] });
    const error = await failureOf(patchbay(secret).connections.listConnections({}));
    expect(error).toMatchObject({
      code: status.PERMISSION_DENIED,
      details: "missing scope: connections:view",
    });
    expect(reasonOf(error)).toBe("MISSING_SCOPE");
    const [bytes] = error.metadata.get("grpc-status-details-bin") as [Buffer];
    const told = fromBinary(StatusSchema, bytes);
    expect(told).toMatchObject({
      code: status.PERMISSION_DENIED,
      message: "missing scope: connections:view",
    });
    expect(anyUnpack(told.details[0]!, ErrorInfoSchema)).toMatchObject({
      domain: "patchbay",
      reason: "MISSING_SCOPE",
      metadata: { scope: "connections:view" },
    });
  });

  test("is read letter by letter also if it holds letters and signs that gRPC has to encode", async () => {
    const error = await failureOf(
      client.connections.callService(callTo("custom:ledger", { headers: { "é%41:/?#€": "\0" } })),
    );
    expect(error).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "headers.é%41:/?#€: must not contain NUL characters",
    });
  });

  test("names the request that the log names", async () => {
    const error = await failureOf(patchbay("qe_sk_sandbox_wrong").apiKeys.whoAmI({}));
    expect(error).toMatchObject({ code: status.UNAUTHENTICATED, details: "missing or invalid Bearer" });
    const metadata = new Metadata();
    metadata.set("x-request-id", "ticket-4711");
    await failureOf(patchbay("qe_sk_sandbox_wrong").apiKeys.whoAmI({}, metadata));
    expect(service.logged()).toContain('"requestId":"ticket-4711"');
  });

  test("tells that a message is too large", async () => {
    const body = { case: "raw", value: Buffer.alloc(4 * MiB) } as const;
    const error = await failureOf(client.connections.callService(callTo("custom:ledger", { body })));
    expect(error).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: "the message is larger than 4 MiB",
    });
    expect(reasonOf(error)).toBe("MESSAGE_TOO_LARGE");
  });
});

describe("a call", () => {
  test("whose deadline passes ends with it, also at the service behind", async () => {
    const asked = callTo("custom:slow", { path: "/deadline" });
    const calling = failureOf(client.connections.callService(asked, { deadline: Date.now() + 1_000 }));
    const behind = await slow.call("/deadline");
    expect(await calling).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await behind.over;
  });

  test("that is cancelled ends at once, also at the service behind", async () => {
    const ended = Promise.withResolvers<ServiceError | null>();
    const asked = callTo("custom:slow", { path: "/cancel" });
    const calling = client.connections.callService(asked, (error) => ended.resolve(error));
    const behind = await slow.call("/cancel");
    calling.cancel();
    expect(await ended.promise).toMatchObject({ code: status.CANCELLED });
    await behind.over;
  });

  test("may be compressed with gzip", async () => {
    const gzip = patchbay(service.org.secret, {
      "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
    });
    const value = "a".repeat(2 * MiB);
    await gzip.connections.callService(callTo("custom:ledger", { body: { case: "text", value } }));
    expect(upstream.asked.at(-1)!.body).toBe(value);
  });

  test("that is small when compressed is as large as it is when inflated", async () => {
    const gzip = patchbay(service.org.secret, {
      "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
    });
    const body = { case: "raw", value: Buffer.alloc(5 * MiB) } as const;
    const error = await failureOf(gzip.connections.callService(callTo("custom:ledger", { body })));
    expect(error).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: "the message is larger than 4 MiB",
    });
  });

  test("answers whatever the service behind may answer, 10 MiB", async () => {
    upstream.answer({
      headers: { "content-type": "application/octet-stream" },
      body: Buffer.alloc(10 * MiB, 7),
    });
    const { body } = await client.connections.callService(callTo("custom:ledger", {}));
    expect(body.case === "raw" && Buffer.from(body.value).equals(Buffer.alloc(10 * MiB, 7))).toBe(true);
  });
});

describe("grpc.health.v1", () => {
  const { SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

  function health() {
    const made = createGrpcClient(Health, new URL(service.url).host, credentials.createInsecure());
    opened.push(made);
    return made;
  }

  test.each(["", "patchbay.connections.v1.ConnectionService"])(
    "says without a key that %j is served",
    async (name) => {
      expect(await health().check({ service: name })).toMatchObject({ status: SERVING });
    },
  );

  test("says of a service that it does not know that it does not know it", async () => {
    const error = await failureOf(health().check({ service: "acme.v1.Rocket" }));
    expect(error).toMatchObject({ code: status.NOT_FOUND });
  });

  test("lists the services", async () => {
    const { statuses } = await health().list({});
    expect(Object.keys(statuses)).toEqual(expect.arrayContaining(["", "patchbay.apikeys.v1.ApiKeyService"]));
    for (const { status } of Object.values(statuses)) expect(status).toBe(SERVING);
  });

  test.each([
    ["", SERVING],
    ["acme.v1.Rocket", SERVICE_UNKNOWN],
  ])("lets a client watch %j until it cancels", async (name, expected) => {
    const watching = health().watch({ service: name });
    const [first] = (await once(watching, "data")) as [HealthCheckResponse];
    expect(first.status).toBe(expected);
    watching.cancel();
    const [error] = (await once(watching, "error")) as [ServiceError];
    expect(error.code).toBe(status.CANCELLED);
  });
});
