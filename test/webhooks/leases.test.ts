import { expect, test, vi } from "vitest";
import { startHanging } from "../support/hanging.ts";
import { startService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";
import { startWebhooks } from "../support/webhooks.ts";

const patient = { timeout: 20_000, interval: 10 };
const day = 24 * 60 * 60 * 1_000;
/** Ends leases as time does: they go by the clock of the database, which no test can turn. */
const halfAMinute = `update webhook_endpoints
  set lease_until = lease_until - interval '31 seconds', due_at = due_at - interval '31 seconds'`;

test("two replicas send each event once, and what one of them left behind goes out after its lease", async () => {
  await using webhooks = await startWebhooks();
  await using upstream = await startUpstream();
  const { postgres } = webhooks.service;
  await using other = await startService({ postgres, rootKey: webhooks.rootKey });
  for (let i = 0; i < 5; i++) await webhooks.endpoint({ url: `${upstream.url}/${i}` });
  for (let i = 0; i < 4; i++) {
    await webhooks.happen("test.a", ["1", "2", "3"]);
    await Promise.all([webhooks.run(), other.app.loops.webhooks.runOnce()]);
  }
  await webhooks.run();
  const got = upstream.asked.map(({ url, headers }) => `${url} ${String(headers["webhook-id"])}`);
  expect(got).toHaveLength(5 * 4 * 3);
  expect(new Set(got).size).toBe(got.length);

  await postgres.asOwner(
    `update webhook_endpoints set lease_owner = 'died', lease_until = clock_timestamp() + interval '30 s',
       due_at = $1::timestamptz`,
    [webhooks.service.clock.now().toISOString()],
  );
  await webhooks.happen("test.a", ["4"]);
  await webhooks.run();
  expect(upstream.asked).toHaveLength(60);
  await postgres.asOwner(halfAMinute);
  await webhooks.run();
  expect(upstream.asked).toHaveLength(65);
});

test.each([
  ["ahead", day],
  ["back", -day],
])(
  "a replica whose clock is a day %s takes no endpoint away from the one that sends for it",
  async (_, ms) => {
    await using webhooks = await startWebhooks();
    await using server = await startHanging();
    const { postgres } = webhooks.service;
    await using other = await startService({ postgres, rootKey: webhooks.rootKey });
    other.clock.advance(ms);
    await webhooks.endpoint({ url: server.url(1) });
    await webhooks.happen("test.a", ["1"]);
    const turn = webhooks.run();
    await server.reached(1);
    await Promise.race([other.app.loops.webhooks.runOnce(), server.reached(2)]);
    expect(server.came).toBe(1);
    server.answer(200);
    await turn;
  },
);

test("what a replica left behind whose clock was a day ahead goes out after its lease all the same", async () => {
  await using webhooks = await startWebhooks();
  await using server = await startHanging();
  const { postgres } = webhooks.service;
  await using other = await startService({ postgres, rootKey: webhooks.rootKey });
  other.clock.advance(day);
  await webhooks.endpoint({ url: server.url(1) });
  await webhooks.happen("test.a", ["1"]);
  const lost = other.app.loops.webhooks.runOnce();
  await server.reached(1);
  await postgres.asOwner(halfAMinute);
  // Its own clock stands since the start, however long ago that is.
  const turn = webhooks.run(day / 2);
  await Promise.race([turn, server.reached(2)]);
  expect(server.came).toBe(2);
  server.answer(200);
  await Promise.all([turn, lost]);
});

test.each([
  ["whose lease went to another replica", "update webhook_endpoints set lease_owner = 'other'"],
  ["whose endpoint was changed meanwhile", "update webhook_endpoints set version = version + 1"],
])("what comes of a turn %s is not recorded", async (_, change) => {
  await using webhooks = await startWebhooks();
  await using server = await startHanging();
  const id = await webhooks.endpoint({ url: server.url(1), keepSuccesses: true });
  await webhooks.happen("test.a", ["1"]);
  const turn = webhooks.service.app.loops.webhooks.runOnce();
  await server.reached(1);
  await webhooks.service.postgres.asOwner(change);
  server.answer(500);
  // Changed, it is sent again at once; to be sent by another, it waits for that one's lease.
  if (change.includes("version")) {
    await server.reached(2);
    server.answer(200);
  }
  await turn;
  expect(await webhooks.rows("webhook_parked")).toEqual([]);
  expect(await webhooks.state(id)).toMatchObject({ failures: 0 });
});

test("what a turn did is recorded also if the database was away meanwhile, and nothing is sent twice", async () => {
  await using webhooks = await startWebhooks();
  await using upstream = await startUpstream();
  const { postgres } = webhooks.service;
  await webhooks.endpoint({ url: upstream.url });
  await webhooks.happen("test.a", ["1"]);
  await postgres.asOwner("create sequence cuts");
  await postgres.asOwner(`create function cut() returns trigger language plpgsql as $$ begin
    if nextval('cuts') <= 2 then perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); end if;
    return new; end $$`);
  await postgres.asOwner(
    "create trigger cut before update on webhook_cursors for each row execute function cut()",
  );
  await postgres.asOwner("grant usage on sequence cuts to public");
  await webhooks.run();
  await webhooks.run(31_000);
  expect(upstream.asked).toHaveLength(1);
});

test("endpoints that hang hold up none that answers, and a service that stops gives up on them", async () => {
  await using server = await startHanging();
  await using upstream = await startUpstream();
  await using webhooks = await startWebhooks({ outboundAllow: "127.0.0.0/8" });
  await Promise.all(
    Array.from({ length: 80 }, (_, i) => webhooks.endpoint({ url: server.url(2 + i), types: ["test.hang"] })),
  );
  await webhooks.endpoint({ url: upstream.url });
  await webhooks.happen("test.hang", ["1"]);
  const { webhooks: loop } = webhooks.service.app.loops;
  loop.start();
  await server.reached(80);
  await webhooks.happen("test.b", ["2"]);
  await vi.waitFor(() => expect(upstream.asked).toHaveLength(2), patient);
  expect(await webhooks.rows("webhook_parked")).toEqual([]);
  await loop.stop();
  const given = await webhooks.service.postgres.asOwner(
    "select from webhook_endpoints where lease_owner is null and due_at is not null",
  );
  expect(given).toHaveLength(80);
});

test("an event goes out as soon as its log moves, also one of the audit log", async () => {
  await using upstream = await startUpstream();
  await using webhooks = await startWebhooks();
  await webhooks.endpoint({ url: upstream.url, types: ["test.*", "audit.user.*"] });
  webhooks.service.app.loops.webhooks.start();
  await webhooks.happen("test.a", ["1"]);
  await vi.waitFor(() => expect(upstream.asked).toHaveLength(1), patient);
  await webhooks.service.org.client.directory.upsertUser({ email: "ann@example.com" });
  await vi.waitFor(() => expect(upstream.asked).toHaveLength(2), patient);
});
