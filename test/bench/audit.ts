import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { createPublicKey } from "node:crypto";
import { exportLines } from "#src/audit/export-lines.ts";
import { verifyExport } from "#src/audit/verify-export.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { presenter, type Presenter } from "../support/service.ts";
import { startBenchPostgres } from "./patchbay.ts";

const events = 100_000;
const appended = 10_000;

/**
 * What a long audit record costs: its export, beside another caller and in memory; pages of filters; and an append with
 * the indexes that the filters need, beside one without them.
 */
export async function run(): Promise<object> {
  await using postgres = await startBenchPostgres();
  const { apiKey, databaseUrl, start } = await postgres.found("audit");
  await using owner = openConnection(databaseUrl, {});
  await using patchbay = await start();
  const url = `http://127.0.0.1:${patchbay.port}`;
  const caller = presenter(url, apiKey);
  const orgId = String((await owner.run("select id from orgs"))[0]?.["id"]);
  await append(owner, orgId, events);
  await owner.run("vacuum analyze audit_events");

  const idle = await timesOf(() => caller.rest("GET", "/api/auth/me"), 200);
  const before = await patchbay.peakMemory();
  const beside: number[] = [];
  const over = new AbortController();
  const neighbour = (async () => {
    while (!over.signal.aborted) beside.push(...(await timesOf(() => caller.rest("GET", "/api/auth/me"), 1)));
  })();
  const exported = await timed(() => exportOnce(url, caller));
  over.abort();
  await neighbour;
  const peakGrowthMib = ((await patchbay.peakMemory()) - before) / 1024 / 1024;

  return {
    export: {
      events: Number(exported.value.events),
      eventsPerSecond: Math.round(Number(exported.value.events) / (exported.ms / 1_000)),
      peakGrowthMib: rounded(peakGrowthMib),
    },
    neighbourMs: { idle: figuresOf(idle), beside: figuresOf(beside) },
    pageMs: await pages(caller),
    appendMicroseconds: await appendCost(owner, orgId),
  };
}

/** Verified as it arrives, by this process. */
async function exportOnce(url: string, { secret, client }: Presenter) {
  const publicKey = createPublicKey((await client.audit.getAuditKey({})).publicKey);
  const answer = await fetch(`${url}/api/audit/export`, { headers: { authorization: `Bearer ${secret}` } });
  const input = Readable.fromWeb(answer.body as ReadableStream);
  const verdict = await verifyExport(exportLines(input), publicKey);
  if (verdict.fault !== undefined) throw new Error(`event ${verdict.fault.seq}: ${verdict.fault.problem}`);
  return verdict;
}

async function pages(caller: Presenter): Promise<object> {
  const middle = await caller.rest("GET", "/api/audit/events?action=bench.7&pageSize=1000");
  const { at } = middle.body.data.events.at(-1);
  const queries = {
    newest: "",
    action: "action=bench.7",
    key: "apiKeyId=key_7",
    "all until the newest": `until=${new Date(Date.now() + 60_000).toISOString()}`,
    "a time in the middle": `since=${new Date(Date.parse(at) - 1_000).toISOString()}&until=${at}`,
  };
  const found: Record<string, object> = {};
  for (const [name, query] of Object.entries(queries)) {
    found[name] = figuresOf(await timesOf(() => caller.rest("GET", `/api/audit/events?${query}`), 20));
  }
  return found;
}

/** Within the database, in turns with and without the indexes, so that other work of the machine disturbs both. */
async function appendCost(owner: Connection, orgId: string): Promise<object> {
  const indexes = (await owner.run(
    "select indexname, indexdef from pg_indexes where indexname like 'audit_events_org_id_%_seq_idx' and indexname ~ '(api_key_id|user_id|at)_seq'",
  )) as unknown as { indexname: string; indexdef: string }[];
  const [withThem, without]: [number[], number[]] = [[], []];
  for (let round = 0; round < 3; round++) {
    withThem.push((await timed(() => append(owner, orgId, appended))).ms);
    for (const { indexname } of indexes) await owner.run(`drop index ${indexname}`);
    without.push((await timed(() => append(owner, orgId, appended))).ms);
    for (const { indexdef } of indexes) await owner.run(indexdef);
  }
  const each = (times: number[]) => rounded((Math.min(...times) * 1_000) / appended);
  return { with: each(withThem), without: each(without), ratio: rounded(each(withThem) / each(without)) };
}

/** As changes do, but a thousand in a transaction. */
async function append(owner: Connection, orgId: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += 1_000) {
    await owner.run(
      `do $$ begin
         perform set_config('app.org_id', '${orgId}', true);
         for n in 1 .. 1000 loop
           perform audit_append('bench.' || n % 20, 'scn_' || n, 'key_' || n % 100, 'usr_' || n % 50, null,
             json_build_object('n', n, 'before', repeat('a', 100), 'after', repeat('b', 100)));
         end loop;
       end $$`,
    );
  }
}

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const began = performance.now();
  const value = await work();
  return { value, ms: performance.now() - began };
}

async function timesOf(work: () => Promise<unknown>, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) times.push((await timed(work)).ms);
  return times;
}

function figuresOf(times: readonly number[]): object {
  const sorted = times.toSorted((one, other) => one - other);
  const at = (share: number) => rounded(sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN);
  return { p50: at(0.5), p99: at(0.99) };
}

function rounded(number: number): number {
  return Math.round(number * 100) / 100;
}
