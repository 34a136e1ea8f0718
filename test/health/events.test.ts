import { expect, test } from "vitest";
import { startReplicas } from "../support/replicas.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

async function register(service: TestService, baseUrl: string): Promise<string> {
  const wanted = { serviceSlug: "aml", baseUrl, apiKey: "not-for-probes" };
  return (await service.org.client.connections.upsertServiceConnection(wanted)).connection!.id;
}

async function saidOf({ org }: TestService) {
  const { events } = await org.client.events.listEvents({ log: "service", withData: true });
  return events.map(({ type, subject, data }) => ({
    ...{ type, subject },
    data: JSON.parse(Buffer.from(data!).toString()) as Record<string, unknown>,
  }));
}

test("a service is said to be unhealthy when answers begin to say so, and to have recovered, once each", async () => {
  await using service = await startService();
  await using upstream = await startUpstream();
  const id = await register(service, upstream.url);
  const typesAfter = async (milliseconds: number) => {
    service.clock.advance(milliseconds);
    await service.app.loops.health.runOnce();
    const { connection } = await service.org.client.connections.getConnection({ id });
    const said = (await saidOf(service)).map(({ type }) => type);
    expect(connection!.unhealthy ?? false).toBe(said.at(-1) === "connection.unhealthy");
    return said;
  };
  const healthyAt = service.clock.now().toISOString();
  expect(await typesAfter(0)).toEqual([]);
  upstream.answer({ status: 500 });
  expect(await typesAfter(70_000)).toEqual([]);
  expect(await typesAfter(231_000)).toEqual(["connection.unhealthy"]);
  expect(await typesAfter(70_000)).toEqual(["connection.unhealthy"]);
  const [said] = await saidOf(service);
  expect(said).toMatchObject({
    subject: id,
    data: { connectionId: id, serviceSlug: "aml", lastHealthyAt: healthyAt, error: expect.any(String) },
  });
  upstream.answer({ status: 200 });
  expect(await typesAfter(70_000)).toEqual(["connection.unhealthy", "connection.recovered"]);
  expect(await typesAfter(70_000)).toEqual(["connection.unhealthy", "connection.recovered"]);
});

test("that a service is unhealthy is recorded together with its event, or not at all", async () => {
  await using service = await startService();
  const { postgres } = service;
  const id = await register(service, "http://127.0.0.1:9");
  service.clock.advance(301_000);
  await postgres.asOwner("alter table events rename to events_gone");
  await expect(service.app.loops.health.runOnce()).rejects.toThrow();
  const health = () => postgres.asOwner("select unhealthy_since, last_error from connection_health where connection_id = $1", [id]); // prettier-ignore
  expect(await health()).toEqual([{ unhealthy_since: null, last_error: null }]);
  // Meanwhile nothing more is claimed: what is found would gather in memory.
  const due = () => postgres.asOwner("select next_due_at::text from connection_health");
  const before = await due();
  service.clock.advance(70_000);
  await expect(service.app.loops.health.runOnce()).rejects.toThrow();
  expect(await due()).toEqual(before);
  await postgres.asOwner("alter table events_gone rename to events");
  await service.app.loops.health.runOnce();
  expect(await health()).toMatchObject([{ last_error: expect.any(String) }]);
  expect(await saidOf(service)).toMatchObject([{ type: "connection.unhealthy", subject: id }]);
});

test("replicas that probe at the same time say it once, and what they say takes turns", async () => {
  await using replicas = await startReplicas();
  await using upstream = await startUpstream();
  const { one, other } = replicas;
  await register(one, upstream.url);
  for (let round = 0; round < 6; round++) {
    upstream.answer({ status: round % 2 === 0 ? 500 : 200 });
    for (const { clock } of [one, other]) clock.advance(400_000);
    await Promise.all([one, other].map(({ app }) => app.loops.health.runOnce()));
  }
  const types = (await saidOf(one)).map(({ type }) => type);
  expect(types).toEqual(
    Array.from({ length: 6 }, (_, i) => (i % 2 === 0 ? "connection.unhealthy" : "connection.recovered")),
  );
});
