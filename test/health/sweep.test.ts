import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startReplicas } from "../support/replicas.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

let replicas: Awaited<ReturnType<typeof startReplicas>>;
let service: TestService;
beforeAll(async () => {
  replicas = await startReplicas();
  service = replicas.one;
});
afterEach(async () => void (await replicas.postgres.asOwner("delete from connections")));
afterAll(() => replicas[Symbol.asyncDispose]());

async function register(service: TestService, slug: string, baseUrl: string): Promise<string> {
  const wanted = { serviceSlug: slug, baseUrl, apiKey: "not-for-probes" };
  return (await service.org.client.connections.upsertServiceConnection(wanted)).connection!.id;
}

async function healthOf(service: TestService, id: string) {
  const { connection } = await service.org.client.connections.getConnection({ id });
  return { healthy: connection!.lastHealthyAt !== undefined, unhealthy: connection!.unhealthy ?? false };
}

describe("a sweep", () => {
  test("probes each active connection when it is due, without its credential, and not before it is due again", async () => {
    await using upstream = await startUpstream();
    const probed = await register(service, "custom:a", `${upstream.url}/health`);
    const off = await register(service, "custom:off", `${upstream.url}/off`);
    await service.org.client.connections.updateConnection({ id: off, active: false });

    await service.app.loops.health.runOnce();
    expect(upstream.asked.map(({ url }) => url)).toStrictEqual(["/health"]);
    expect(upstream.asked[0]!.headers.authorization).toBeUndefined();
    expect(await healthOf(service, probed)).toStrictEqual({ healthy: true, unhealthy: false });

    service.clock.advance(53_999);
    await service.app.loops.health.runOnce();
    expect(upstream.asked).toHaveLength(1);
    service.clock.advance(12_002);
    await service.app.loops.health.runOnce();
    expect(upstream.asked).toHaveLength(2);
  });

  test("leaves a connection that fails as it was until it is stale, logs the change, and sees it recover", async () => {
    await using upstream = await startUpstream();
    const id = await register(service, "aml", upstream.url);
    const sweepAfter = async (milliseconds: number) => {
      service.clock.advance(milliseconds);
      await service.app.loops.health.runOnce();
      return (await healthOf(service, id)).unhealthy;
    };
    expect(await sweepAfter(0)).toBe(false);
    upstream.answer({ status: 500 });
    expect(await sweepAfter(70_000)).toBe(false);
    expect(service.logged()).toContain("connection fails its probe");
    expect(await sweepAfter(231_000)).toBe(true);
    upstream.answer({ status: 401 });
    expect(await sweepAfter(70_000)).toBe(false);
    expect(service.logged()).toContain("connection is healthy again");
  });

  test("by two replicas at once probes every connection once", async () => {
    await using upstream = await startUpstream();
    const { one, other } = replicas;
    const slugs = Array.from({ length: 30 }, (_, i) => `s${i}`);
    await Promise.all(slugs.map((slug) => register(one, `custom:${slug}`, `${upstream.url}/${slug}`)));
    other.clock.advance(one.clock.now().getTime() - other.clock.now().getTime());
    await Promise.all([one, other, one, other].map(({ app }) => app.loops.health.runOnce()));
    const paths = upstream.asked.map(({ url }) => url);
    expect(paths).toHaveLength(30);
    expect(new Set(paths).size).toBe(30);
  });

  test("probes a new base URL at once, although the old one has not answered yet", async () => {
    await using old = await startUpstream();
    await using upstream = await startUpstream();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    old.answer(async () => {
      await released;
      return {};
    });
    const id = await register(service, "aml", old.url);
    const sweep = service.app.loops.health.runOnce();
    await expect.poll(() => old.asked, { timeout: 50_000 }).toHaveLength(1);
    await register(service, "aml", upstream.url);
    const next = service.app.loops.health.runOnce();
    await expect.poll(() => upstream.asked, { timeout: 50_000 }).toHaveLength(1);
    release();
    await Promise.all([sweep, next]);
    expect(await healthOf(service, id)).toStrictEqual({ healthy: true, unhealthy: false });
  });

  test("of one organisation's connections to a host does not wait for another's that hang there", async () => {
    const globex = await service.newOrganization("globex");
    const hanging: ServerResponse[] = [];
    const server = createServer((request, response) => {
      if (request.url === "/hang") return void hanging.push(response);
      // What hangs is let go when the other organisation's probe has come, or fails by its time-out.
      for (const one of hanging.splice(0)) one.end();
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) ids.push(await register(service, `custom:h${i}`, `${origin}/hang`));
    await globex.client.connections.upsertServiceConnection({
      serviceSlug: "custom:quick",
      baseUrl: `${origin}/quick`,
      apiKey: "not-for-probes",
    });
    await service.app.loops.health.runOnce();
    for (const id of ids) expect(await healthOf(service, id)).toMatchObject({ healthy: true });
    server.closeAllConnections();
    server.close();
  });

  test("asks a host for at most four connections of an organisation at a time", async () => {
    const open = new Set<ServerResponse>();
    let most = 0;
    const server = createServer((_, response) => {
      most = Math.max(most, open.add(response).size);
      response.on("close", () => open.delete(response));
      // Answered when four are there; the turns of the event loop that follow are for a fifth.
      if (open.size === 4) void turns(200).then(() => open.forEach((one) => one.end()));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const places = Array.from({ length: 20 }, (_, i) => `http://127.0.0.1:${port}/${i}`);
    await Promise.all(places.map((place, i) => register(service, `custom:h${i}`, place)));
    await service.app.loops.health.runOnce();
    server.closeAllConnections();
    server.close();
    expect(most).toBe(4);
  });
});

test("the service stops in good order although its database is gone", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using upstream = await startUpstream();
  await using service = await startService({ postgres: { ...postgres, url: proxy.url } });
  await register(service, "aml", upstream.url);
  upstream.answer(() => {
    void proxy.close();
    return {};
  });
  await expect(service.app.loops.health.runOnce()).rejects.toThrow(/database/);
  await expect(service.app.close(1_000)).resolves.toBe(true);
  expect(service.logged()).toContain("the last probes were not recorded");
});

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}
