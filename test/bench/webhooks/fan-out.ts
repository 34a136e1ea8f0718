import { performance } from "node:perf_hooks";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { postgresCpu } from "../events/postgres-cpu.ts";
import type { BenchEndpoints } from "./endpoints.ts";

const eventsEach = 20;
const workers = 2;

/**
 * Twenty events of each organisation, for all of its endpoints, which take them at once. Beside it a server with a row
 * for each delivery: written with the event, claimed 500 at a time with SKIP LOCKED, and marked when it is done.
 */
export async function benchFanOut(endpoints: BenchEndpoints): Promise<void> {
  const { owner, orgIds, each } = endpoints;
  await owner.run(
    `select append_own_event(id, 'all.happened', 'one', json_build_object('note', repeat('x', 600)), now())
     from orgs, generate_series(1, ${eventsEach})`,
  );
  const all = orgIds.length * each * eventsEach;
  const rows = await measured(endpoints, () => rowPerDelivery(endpoints));
  let delivered = 0;
  const loop = endpoints.dispatch(() => {
    delivered++;
    return Promise.resolve({ ...nothing, ok: true, status: 200, latencyMs: 1, answerBytes: 2 });
  });
  const cursors = await measured(endpoints, () => loop.runOnce());
  if (delivered !== all) throw new Error(`${delivered} of ${all} were delivered`);
  print("a row for each delivery", all, rows);
  print("a cursor for each endpoint, every attempt kept", all, cursors);
  console.log(`Postgres' CPU: ${(rows.postgres / cursors.postgres).toFixed(1)} times less`);
}

const nothing = { stage: undefined, answerType: undefined, retryAfterMs: undefined };

interface Measured {
  readonly seconds: number;
  readonly node: number;
  readonly postgres: number;
}

async function measured({ dataDir, owner }: BenchEndpoints, run: () => Promise<unknown>): Promise<Measured> {
  await owner.run("checkpoint");
  const before = await postgresCpu(dataDir);
  const [cpu, began] = [process.cpuUsage(), performance.now()];
  await run();
  const seconds = (performance.now() - began) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { seconds, node: (user + system) / 1e6, postgres: (await postgresCpu(dataDir)) - before };
}

function print(name: string, all: number, { seconds, node, postgres }: Measured): void {
  const micros = (cpu: number): string => `${((cpu / all) * 1e6).toFixed(0)} µs`;
  console.log(
    name.padEnd(48),
    `${(all / seconds).toFixed(0)}/s`.padStart(9),
    `CPU of a delivery: Postgres ${micros(postgres)}, Node ${micros(node)}`,
  );
}

async function rowPerDelivery({ owner, url }: BenchEndpoints): Promise<void> {
  await owner.run(`create table bench_deliveries (
    org_id text collate "C", endpoint_id text collate "C", seq bigint, state text not null default 'pending',
    due_at timestamptz not null default now(), attempts integer not null default 0, status integer, latency_ms integer,
    primary key (org_id, endpoint_id, seq))`);
  await owner.run("create index on bench_deliveries (due_at) where state = 'pending'");
  await owner.run(`insert into bench_deliveries (org_id, endpoint_id, seq)
    select e.org_id, e.id, v.seq from webhook_endpoints e join events v on v.org_id = e.org_id and v.log = 'service'`);
  await Promise.all(Array.from({ length: workers }, () => work(url)));
}

async function work(url: string): Promise<void> {
  const connection: Connection = openConnection(url, {});
  for (;;) {
    const claimed = await connection.run(`
      update bench_deliveries d set due_at = now() + interval '30 s', attempts = attempts + 1
      from (
        select org_id, endpoint_id, seq from bench_deliveries where state = 'pending' and due_at <= now()
        order by due_at limit 500 for update skip locked
      ) c
      where (d.org_id, d.endpoint_id, d.seq) = (c.org_id, c.endpoint_id, c.seq)
      returning d.org_id, d.endpoint_id, d.seq::text, (
        select v.data from events v where v.org_id = d.org_id and v.log = 'service' and v.seq = d.seq
      )`);
    // Not closed before its CPU is counted.
    if (claimed.length === 0) return;
    await connection.run(
      `update bench_deliveries d set state = 'done', status = 200, latency_ms = 1
       from json_to_recordset($1::json) as c (org_id text, endpoint_id text, seq bigint)
       where d.org_id = c.org_id and d.endpoint_id = c.endpoint_id and d.seq = c.seq`,
      [JSON.stringify(claimed.map(({ org_id, endpoint_id, seq }) => ({ org_id, endpoint_id, seq })))],
    );
  }
}
