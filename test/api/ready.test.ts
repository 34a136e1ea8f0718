import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startProxy, type PostgresProxy } from "../support/postgres-proxy.ts";
import { startService, type TestService } from "../support/service.ts";

let postgres: TestDatabase;
let proxy: PostgresProxy;
let service: TestService;
beforeAll(async () => {
  postgres = await createTestDatabase();
  proxy = await startProxy(postgres.url);
  service = await startService({ postgres: { ...postgres, url: proxy.url } });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const ready = async () => {
  const response = await fetch(`${service.url}/readyz`);
  return [response.status, await response.text()];
};
/** What /readyz says once it says something else, while the watch of the database goes on. */
const readyAfter = (status: number) =>
  expect
    .poll(
      async () => {
        await service.app.loops.readiness.runOnce();
        return (await ready())[0];
      },
      { timeout: 60_000, interval: 100 },
    )
    .toBe(status);

test("a service whose database is away says so over HTTP and gRPC, to those that watch too, and is ready again when it is back", async () => {
  expect(await ready()).toStrictEqual([200, '{"status":"ready"}']);
  const health = createClient(Health, createGrpcTransport({ baseUrl: service.url }));
  const stopping = new AbortController();
  const watch = health.watch({}, { signal: stopping.signal })[Symbol.asyncIterator]();
  expect((await watch.next()).value).toMatchObject({ status: Status.SERVING });

  await proxy.close();
  await readyAfter(503);
  expect(await ready()).toStrictEqual([503, '{"error":"not ready: its database does not answer"}']);
  expect(await health.check({})).toMatchObject({ status: Status.NOT_SERVING });
  expect((await watch.next()).value).toMatchObject({ status: Status.NOT_SERVING });
  expect((await fetch(`${service.url}/healthz`)).status).toBe(200);

  await proxy.reopen();
  await readyAfter(200);
  expect((await watch.next()).value).toMatchObject({ status: Status.SERVING });
  stopping.abort();
  const lines = service
    .logged()
    .split("\n")
    .filter((line) => line.includes("ready") && !line.includes('"msg":"request"'));
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toStrictEqual([
    "not ready: the database does not answer",
    "ready again: the database answers",
  ]);
});
