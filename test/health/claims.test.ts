import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startReplicas } from "../support/replicas.ts";
import { startUpstream } from "../support/upstream.ts";

let replicas: Awaited<ReturnType<typeof startReplicas>>;
beforeAll(async () => {
  replicas = await startReplicas();
});
afterAll(() => replicas[Symbol.asyncDispose]());

const waiting = { timeout: 30_000, interval: 5 };

/** Connections of one organisation that are due, each at a path of its own. Nobody watches: no change is numbered. */
async function addConnections(many: number, baseUrl: string): Promise<string> {
  const { one } = replicas;
  const { orgId } = await one.newOrganization("many");
  const at = one.clock.now().toISOString();
  await unwatched(
    `insert into connections (org_id, id, environment, base_url, active, created_at, integration)
     select $1, 'scn_' || lpad(n::text, 26, '0'), 'sandbox', $2 || '/' || n, true, $3::timestamptz, 'custom:many'
     from generate_series(1, $4::int) n`,
    [orgId, baseUrl, at, many],
  );
  await unwatched(
    `insert into connection_health (org_id, connection_id, next_due_at)
     select org_id, id, $2::timestamptz from connections where org_id = $1`,
    [orgId, at],
  );
  return orgId;
}

async function forget(orgId: string): Promise<void> {
  for (const table of ["connection_health", "connection_transitions", "connections"])
    await unwatched(`delete from ${table} where org_id = $1`, [orgId]);
}

async function unwatched(statement: string, values: unknown[]): Promise<void> {
  const { asOwner } = replicas.postgres;
  await asOwner("set session_replication_role = replica");
  await asOwner(statement, values);
  await asOwner("set session_replication_role = origin");
}

/** A service that answers when the test lets it. */
async function startHanging() {
  const asked: string[] = [];
  const held = new Set<ServerResponse>();
  let isHanging = true;
  const server = createServer((request, response) => {
    asked.push(String(request.url));
    if (!isHanging) return void response.end();
    held.add(response);
    response.on("close", () => held.delete(response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    release() {
      isHanging = false;
      for (const one of held) one.end();
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("each connection of an organisation that has more than are claimed at a time is probed within the period, once", async () => {
  await using upstream = await startUpstream();
  const many = 400;
  const orgId = await addConnections(many, upstream.url);
  await Promise.all([replicas.one, replicas.other].map(({ app }) => app.loops.health.runOnce()));
  const paths = upstream.asked.map(({ url }) => url);
  expect(paths).toHaveLength(many);
  expect(new Set(paths).size).toBe(many);
  await forget(orgId);
});

test("a claim reads what it takes, and not the whole table", async () => {
  const { postgres } = replicas;
  const orgIds: string[] = [];
  for (let n = 0; n < 10; n++) orgIds.push(await addConnections(500, "http://127.0.0.1:9"));
  await postgres.asOwner("analyze connection_health");
  await postgres.asOwner("analyze connections");
  // As releases of Postgres before 18 plan functions: for any numbers.
  const claims = `select set_config('plan_cache_mode', 'force_generic_plan', true);
    do $$ begin for n in 1..3 loop
      perform claim_due_probes('sandbox', now() + interval '1 day', 5, 5, '{}');
    end loop; end $$;
    select coalesce(sum(seq_tup_read), 0)::int as read from pg_stat_xact_user_tables where relname like 'connection%'`;
  expect(await postgres.asOwner(claims)).toContainEqual([{ read: 0 }]);
  for (const orgId of orgIds) await forget(orgId);
});

test("a replica claims of one organisation what can begin in time, and leaves the rest to others", async () => {
  await using upstream = await startHanging();
  const orgId = await addConnections(400, upstream.url);
  const { one, other, postgres } = replicas;
  const sweeping = one.app.loops.health.runOnce();
  const claimed = async () => {
    const [row] = await postgres.asOwner(
      "select count(*)::int as n from connection_health where org_id = $1 and next_due_at > $2::timestamptz",
      [orgId, one.clock.now().toISOString()],
    );
    return Number(row?.["n"]);
  };
  await vi.waitUntil(() => upstream.asked.length === 4, waiting);
  const most = 9 * 24;
  expect(await claimed()).toBeLessThanOrEqual(most);
  upstream.release();
  await Promise.all([sweeping, other.app.loops.health.runOnce()]);
  expect(new Set(upstream.asked).size).toBe(400);
  await forget(orgId);
});

test("what a replica claimed and did not begin in time is left out, for the one that claims it next", async () => {
  await using upstream = await startHanging();
  const { one, other } = replicas;
  const orgId = await addConnections(12, upstream.url);
  const sweeping = one.app.loops.health.runOnce();
  await vi.waitUntil(() => upstream.asked.length === 4, waiting);
  // By now it would end when another replica may have it.
  one.clock.advance(46_000);
  upstream.release();
  await sweeping;
  expect(upstream.asked).toHaveLength(4);
  other.clock.advance(66_001);
  await other.app.loops.health.runOnce();
  const counts = Map.groupBy(upstream.asked, (path) => path);
  expect([counts.size, upstream.asked.length]).toEqual([12, 16]);
  await forget(orgId);
});

test("what a replica had claimed when it died is probed by another one a period later, and not before", async () => {
  await using upstream = await startHanging();
  const { one, other } = replicas;
  const orgId = await addConnections(3, upstream.url);
  const dying = one.app.loops.health.runOnce();
  await vi.waitUntil(() => upstream.asked.length === 3, waiting);
  await other.app.loops.health.runOnce();
  expect(upstream.asked).toHaveLength(3);
  other.clock.advance(one.clock.now().getTime() - other.clock.now().getTime() + 66_001);
  const next = other.app.loops.health.runOnce();
  await vi.waitUntil(() => upstream.asked.length === 6, waiting);
  upstream.release();
  await Promise.all([next, dying]);
  expect(new Set(upstream.asked).size).toBe(3);
  await forget(orgId);
});

test("operators see how late the oldest claimed probe is, and how probes ended", async () => {
  await using upstream = await startHanging();
  const { one } = replicas;
  const { port } = await one.app.listenForMetrics("127.0.0.1", 0);
  const metric = async (name: string) => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`${name} `))
        ?.slice(name.length),
    );
  };
  const healthy = 'patchbay_health_probes_total{outcome="healthy"}';
  await one.app.loops.health.runOnce();
  const before = (await metric(healthy)) || 0;
  const orgId = await addConnections(2, upstream.url);
  const sweeping = one.app.loops.health.runOnce();
  await vi.waitUntil(() => upstream.asked.length === 2, waiting);
  one.clock.advance(20_000);
  expect(await metric("patchbay_health_sweep_lag_seconds")).toBe(20);
  expect(await metric("patchbay_health_probes_claimed")).toBe(2);
  upstream.release();
  await sweeping;
  expect((await metric(healthy)) - before).toBe(2);
  expect(await metric("patchbay_health_probes_claimed")).toBe(0);
  await one.app.loops.health.runOnce();
  expect(await metric("patchbay_health_sweep_lag_seconds")).toBe(0);
  await forget(orgId);
});
