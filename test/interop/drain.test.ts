import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { credentials } from "@grpc/grpc-js";
import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
} from "#gen/grpc/health/v1/health_pb.js";
import { createGrpcClient, createPatchbayClient } from "#src/client/grpc-js.ts";
import { startService } from "../support/service.ts";
import { startSlowUpstream } from "./support.ts";

const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;

test("while the service closes, watchers learn it at once and calls on their way are answered", async () => {
  await using service = await startService();
  await using slow = await startSlowUpstream();
  const { host, hostname, port } = new URL(service.url);
  const insecure = credentials.createInsecure();
  const patchbay = createPatchbayClient({ address: host, credentials: insecure, apiKey: service.org.secret });
  const health = createGrpcClient(Health, host, insecure);
  await patchbay.connections.upsertServiceConnection({
    serviceSlug: "custom:slow",
    baseUrl: slow.url,
    apiKey: "a-siblings-own-key",
  });

  const overGrpc = health.watch({}) as AsyncIterable<HealthCheckResponse>;
  const overConnect = watchOverConnect(service.url);
  const watchers = [overGrpc[Symbol.asyncIterator](), overConnect[Symbol.asyncIterator]()];
  expect(await nextOf(watchers)).toStrictEqual([SERVING, SERVING]);

  const call = { service: "custom:slow", method: "GET" };
  const answers = [
    patchbay.connections.callService({ ...call, path: "/grpc" }),
    service.org.rest("POST", "/api/service-calls", { ...call, path: "/rest" }),
  ] as const;
  const [behindGrpc, behindRest] = await Promise.all([slow.call("/grpc"), slow.call("/rest")]);

  const closing = service.app.close(15_000);
  expect(await nextOf(watchers)).toStrictEqual([NOT_SERVING, NOT_SERVING]);
  const late = connect(Number(port), hostname);
  expect((await once(late, "error"))[0]).toMatchObject({ code: "ECONNREFUSED" });

  behindGrpc.answer({ over: "gRPC" });
  behindRest.answer({ over: "REST" });
  const [grpc, rest] = await Promise.all(answers);
  expect(grpc.status).toBe(200);
  expect(rest).toMatchObject({ status: 200, body: { data: { json: { over: "REST" } } } });

  // Nobody had to be cut, so a watcher that stays does not hold up the end.
  const startedAt = performance.now();
  expect(await closing).toBe(true);
  expect(performance.now() - startedAt).toBeLessThan(10_000);
  patchbay.close();
  health.close();
});

function watchOverConnect(baseUrl: string): AsyncIterable<HealthCheckResponse> {
  const health: Client<typeof Health> = createClient(
    Health,
    createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  );
  return health.watch({});
}

function nextOf(watchers: AsyncIterator<HealthCheckResponse>[]) {
  return Promise.all(
    watchers.map(async (watcher) => ((await watcher.next()).value as HealthCheckResponse).status),
  );
}
