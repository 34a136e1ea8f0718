import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLog } from "#src/cli/log.ts";
import { createMetrics } from "#src/metrics/metrics.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { observedOutbound } from "#src/outbound/observed.ts";
import type { Tracing } from "#src/platform/tracing.ts";
import { createOtlpTracing } from "#src/tracing/otlp.ts";
import { createOrders } from "../support/orders.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { startReceiver, type ReceivedSpan, type Receiver } from "./receiver.ts";

const secret = "a-credential-that-nobody-may-see";
let receiver: Receiver;
let tracing: Tracing;
let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  receiver = await startReceiver();
  const log = createLog("silent", process.stderr);
  const endpoint = `${receiver.url}/`;
  tracing = createOtlpTracing({
    endpoint,
    percent: 100,
    environment: "sandbox",
    version: "1.2.3",
    log,
    everyMs: 20,
  });
  service = await startService({ tracing });
  upstream = await startUpstream();
  await service.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:bank",
    baseUrl: `${upstream.url}/base`,
    apiKey: secret,
  });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await tracing.close();
  await upstream[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
});

const server = 2;
const client = 3;

/** What the receiver has of the trace once the span of its request is there, which ends last. */
async function traceOf(traceId: string): Promise<{ root: ReceivedSpan; parts: readonly ReceivedSpan[] }> {
  const find = () => receiver.spans.find((span) => span.traceId === traceId && span.kind === server);
  await expect.poll(find, { timeout: 30_000 }).toBeDefined();
  const root = find()!;
  return { root, parts: receiver.spans.filter((span) => span.traceId === traceId && span !== root) };
}

/** The access line of a request, once it is written. */
async function lineOf(requestId: string): Promise<Record<string, unknown>> {
  const find = () =>
    service
      .logged()
      .split("\n")
      .find((line) => line.includes(`"${requestId}"`) && line.includes('"msg":"request"'));
  await expect.poll(find, { timeout: 30_000 }).toBeDefined();
  return JSON.parse(find() ?? "{}") as Record<string, unknown>;
}

const traceIds = { one: "0af7651916cd43dd8448eb211c80319c", caller: "b7ad6b7169203331" };
const call = (more: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  service.org.rest(
    "POST",
    "/api/service-calls",
    { service: "custom:bank", method: "GET", path: "/a", query: { q: "1" }, ...more },
    headers,
  );

test("a call is one trace: the request, its look-ups, and the call of the service", async () => {
  const { headers, status } = await call();
  expect(status).toBe(200);
  const line = await lineOf(headers.get("x-request-id") ?? "");
  const { root, parts } = await traceOf(String(line["traceId"]));
  expect(root).toMatchObject({ name: line["rpc"], parentSpanId: "", isError: false });
  expect(root.attributes).toStrictEqual({
    "http.response.status_code": 200,
    "patchbay.protocol": "rest",
    "patchbay.request_id": line["requestId"],
    "patchbay.org_id": service.org.orgId,
    "patchbay.api_key_id": service.org.apiKeyId,
  });
  const outbound = parts.find(({ name }) => name === "GET");
  expect(outbound).toMatchObject({ kind: client, parentSpanId: root.spanId });
  expect(outbound?.attributes).toStrictEqual({
    "server.address": "127.0.0.1",
    "http.response.status_code": 200,
  });
  expect(parts.some(({ name }) => name.startsWith("database "))).toBe(true);
  for (const part of parts) expect(part.startNanos).toBeGreaterThanOrEqual(root.startNanos);
  expect(receiver.resources[0]).toMatchObject({
    "service.name": "patchbay",
    "service.version": "1.2.3",
    "deployment.environment.name": "sandbox",
  });
});

describe("the traceparent of a caller", () => {
  test("is gone on with, and the called service is named the span that calls it", async () => {
    const parent = `00-${traceIds.one}-${traceIds.caller}-01`;
    await call({}, { traceparent: parent });
    const { root, parts } = await traceOf(traceIds.one);
    expect(root.parentSpanId).toBe(traceIds.caller);
    const outbound = parts.find(({ name }) => name === "GET");
    expect(upstream.asked.at(-1)?.headers["traceparent"]).toBe(`00-${traceIds.one}-${outbound?.spanId}-01`);
  });

  test("that the call itself gives for the service is left as it is", async () => {
    const given = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
    await call({ headers: { Traceparent: given } });
    expect(upstream.asked.at(-1)?.headers["traceparent"]).toBe(given);
  });

  test("that came with a proxied request is replaced by the span that passes it on", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    await service.org.rest("GET", "/api/connections/custom:bank/proxy/x", undefined, {
      traceparent: `00-${traceId}-${traceIds.caller}-01`,
    });
    const { root, parts } = await traceOf(traceId);
    expect(root.parentSpanId).toBe(traceIds.caller);
    const outbound = parts.find(({ attributes }) => attributes["server.address"] !== undefined);
    expect(upstream.asked.at(-1)?.headers["traceparent"]).toBe(`00-${traceId}-${outbound?.spanId}-01`);
  });

  test("that is not to be recorded is not, and the called service learns it", async () => {
    const parent = `00-${"9".repeat(32)}-${traceIds.caller}-00`;
    await call({}, { traceparent: parent });
    expect(upstream.asked.at(-1)?.headers["traceparent"]).toMatch(new RegExp(`^00-${"9".repeat(32)}-.*-00$`));
    // What comes later is recorded, so what came before would be there.
    const { headers } = await call();
    await traceOf(String((await lineOf(headers.get("x-request-id") ?? ""))["traceId"]));
    expect(receiver.spans.filter(({ traceId }) => traceId === "9".repeat(32))).toStrictEqual([]);
  });

  test.each([
    ["nothing of the form", "hello"],
    ["a trace of zeros", `00-${"0".repeat(32)}-${traceIds.caller}-01`],
    ["a span of zeros", `00-${"a".repeat(32)}-${"0".repeat(16)}-01`],
    ["a version that never will be", `ff-${"a".repeat(32)}-${traceIds.caller}-01`],
    ["more than its version has", `00-${"a".repeat(32)}-${traceIds.caller}-01-x`],
    ["capitals", `00-${"A".repeat(32)}-${traceIds.caller}-01`],
    ["a key", "qe_sk_sandbox_abc"],
    ["16 KiB without an end", "0".repeat(12_000)],
  ])("begins a new trace if it is %s", async (_, traceparent) => {
    const { headers } = await service.org.rest("GET", "/api/auth/me", undefined, { traceparent });
    const { root } = await traceOf(String((await lineOf(headers.get("x-request-id") ?? ""))["traceId"]));
    expect(root.parentSpanId).toBe("");
    expect(root.traceId).not.toBe("a".repeat(32));
  });
});

test("a host that the deployment's list does not name learns nothing of traces", async () => {
  const sent: unknown[] = [];
  const reply = { status: 200, headers: {}, body: Buffer.alloc(0), latencyMs: 1 };
  const never = () => Promise.reject(new Error("not called"));
  const outbound = observedOutbound(
    {
      send: async (request) => {
        sent.push(request.headers);
        return reply;
      },
      ...{ plan: never, stream: never, openDialogue: never, close: never },
      ...{ checkBaseUrl: String, checkSecureBaseUrl: String },
    },
    { allow: parseOutboundAllow("bank.internal"), meter: createMetrics(), tracing },
  );
  const span = tracing.serve(undefined);
  for (const baseUrl of [
    "https://api.example.com",
    "https://bank.internal",
    "https://bank.internal.example.com",
  ]) {
    const done = Promise.withResolvers<unknown>();
    span.run(
      () =>
        void outbound.send({ share: "a", baseUrl, method: "GET", path: "" }).then(done.resolve, done.reject),
    );
    await done.promise;
  }
  span.end("test", {}, false);
  expect(sent).toStrictEqual([{}, { traceparent: expect.stringMatching(/^00-/) as string }, {}]);
});

describe("a stream", () => {
  /** Reads what a stream brings until it has this text. */
  type Reads = (text: string) => Promise<void>;

  async function overServerSentEvents(log: string, traceparent: string, signal: AbortSignal): Promise<Reads> {
    const headers = { authorization: `Bearer ${service.org.secret}`, traceparent };
    const url = `${service.url}/api/events/stream?log=${log}&from=earliest`;
    const reader = (await fetch(url, { headers, signal }))
      .body!.pipeThrough(new TextDecoderStream())
      .getReader();
    return async (text) => {
      for (let seen = ""; !seen.includes(text);) seen += (await reader.read()).value ?? "";
    };
  }

  async function overGrpc(log: string, traceparent: string, signal: AbortSignal): Promise<Reads> {
    const logs = [{ log, from: { case: "earliest" as const, value: true } }];
    const options = { headers: { traceparent }, signal };
    const messages = service.org.client.events.subscribe({ logs }, options)[Symbol.asyncIterator]();
    return async (text) => {
      for (;;) {
        const { value } = await messages.next();
        const ids = (value as { events: { id: string }[] }).events.map(({ id }) => id);
        if (ids.includes(text)) return;
      }
    };
  }

  test.each([
    ["server-sent events", overServerSentEvents, "5"],
    ["gRPC", overGrpc, "8"],
  ])(
    "over %s keeps its trace: later reads are parts of it, and it ends with the stream",
    async (_, open, digit) => {
      const { channel, send: publish } = await createOrders(service.org);
      const traceId = digit.repeat(32);
      const stopping = new AbortController();
      const traceparent = `00-${traceId}-${traceIds.caller}-01`;
      await publish("the-first");
      const reads = await open(channel?.id ?? "", traceparent, stopping.signal);
      await reads("the-first");
      const between = BigInt(Date.now()) * 1_000_000n;
      await publish("the-second");
      await reads("the-second");
      stopping.abort();
      const { root, parts } = await traceOf(traceId);
      expect(root.attributes).toMatchObject({ "patchbay.cut": true });
      expect(root.isError).toBe(false);
      const later = parts.filter(({ name, startNanos }) => name === "database read" && startNanos >= between);
      expect(later.length).toBeGreaterThan(0);
    },
  );
});

test("failures of ours and of the database are marked, those of callers are not, and no message is told", async () => {
  const traceOfNext = async (work: (traceparent: string) => Promise<unknown>, traceId: string) => {
    await work(`00-${traceId}-${traceIds.caller}-01`);
    return traceOf(traceId);
  };
  const mine = await traceOfNext(
    (traceparent) => service.as("nonsense").rest("GET", "/api/auth/me", undefined, { traceparent }),
    "6".repeat(32),
  );
  expect(mine.root).toMatchObject({
    ...{ isError: false, attributes: { "http.response.status_code": 401, "error.type": "INVALID_BEARER" } },
  });
  await service.postgres.asOwner("alter table users rename to users_away");
  try {
    const broken = await traceOfNext(
      (traceparent) => service.org.rest("GET", "/api/users", undefined, { traceparent }),
      "7".repeat(32),
    );
    expect(broken.root).toMatchObject({
      ...{ isError: true, attributes: { "http.response.status_code": 500, "error.type": "INTERNAL" } },
    });
    const failed = broken.parts.filter(({ isError }) => isError);
    expect(failed.map(({ attributes }) => attributes["error.type"])).toStrictEqual(["DatabaseError"]);
  } finally {
    await service.postgres.asOwner("alter table users_away rename to users");
  }
});

test("health checks are in no trace", async () => {
  const before = tracing.counts.ended;
  for (const path of ["/healthz", "/readyz"]) await fetch(service.url + path);
  const { headers } = await service.org.rest("GET", "/api/auth/me");
  const line = await lineOf(headers.get("x-request-id") ?? "");
  const { parts } = await traceOf(String(line["traceId"]));
  expect(tracing.counts.ended - before).toBe(1 + parts.length);
});

test("no secret, path or text of a client is in what was sent", async () => {
  await call({ path: "/a-path-of-a-client", headers: { "x-mine": "a-header-of-a-client" } });
  const { headers } = await fetch(`${service.url}/made-up-path?api_key=${service.org.secret}`);
  await traceOf(String((await lineOf(headers.get("x-request-id") ?? ""))["traceId"]));
  const all = Buffer.concat(receiver.bodies);
  for (const told of [
    secret,
    service.org.secret,
    "a-path-of-a-client",
    "a-header-of-a-client",
    "made-up-path",
    "q=1",
  ]) {
    expect(all.includes(told)).toBe(false);
  }
});

describe("a receiver that is away", () => {
  test.each([
    ["answers nothing", "hang" as const, /"problem":"\w+"/],
    ["fails", 400, /"problem":"400"/],
  ])(
    "or %s does no harm, is reported once, and the stop does not wait for it",
    async (_, answer, problem) => {
      const lines: string[] = [];
      await using away = await startReceiver();
      away.answer(answer);
      const log = createLog("info", { write: (line: string) => void lines.push(line) });
      const hanging = createOtlpTracing({
        endpoint: away.url,
        percent: 100,
        environment: "live",
        version: "1",
        log,
      });
      for (let i = 0; i < 10_000; i++) hanging.serve(undefined).end("test", {}, false);
      const began = performance.now();
      await hanging.close();
      // Far less than its attempts would take together.
      expect(performance.now() - began).toBeLessThan(15_000);
      expect(hanging.counts).toMatchObject({ ended: 10_000, taken: 0 });
      const told = lines.filter((line) => line.includes("the receiver of traces takes none"));
      if (answer !== "hang") expect(told).toStrictEqual([expect.stringMatching(problem)]);
      expect(told.length).toBeLessThanOrEqual(1);
    },
  );
});
