import { createSecretKey, randomBytes } from "node:crypto";
import { seal } from "#src/crypto/seal.ts";
import { sql } from "#src/db/drizzle.cjs";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { median, at } from "../figures.ts";
import type { BenchLogs } from "./logs.ts";
import { postgresCpu } from "./postgres-cpu.ts";

const callers = 256;
const connections = 16;
const data = Buffer.from(JSON.stringify({ type: "payment.settled", data: { note: "x".repeat(960) } }));

/** One way to take an event in. */
interface Way {
  readonly name: string;
  accept(): Promise<unknown>;
  /** What it is compared with. */
  readonly beside: readonly string[];
}

interface Visit {
  readonly perSecond: number;
  readonly perCoreSecond: number;
  /** CPU for an event. */
  readonly nodeMicros: number;
  readonly postgresMicros: number;
  readonly p50: number;
  readonly p99: number;
}

/**
 * Accepting events of 1 KB in process, sealed, with 256 callers: group commit beside a row for each request. A row is
 * written in a transaction as all others of this service are, a bare one by one statement alone, on 16 connections; its
 * number is from one sequence. A numbered row takes it under the lock of its channel's row, which a log without gaps
 * needs.
 */
export async function benchAccept(logs: BenchLogs, rounds: number, visitMs: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const ways = await waysOf(logs, stack);
  const visits = new Map(ways.map((way) => [way, new Array<Visit>()]));
  for (const way of ways) await visit(logs, way, visitMs);
  for (let round = 0; round < rounds; round++) {
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) {
      visits.get(way)?.push(await visit(logs, way, visitMs));
    }
  }
  for (const [way, seen] of visits) {
    const of = (figure: (visit: Visit) => number) => median(seen.map(figure));
    const ratios = ways
      .filter(({ name }) => way.beside.includes(name))
      .map((other) => {
        const beside = visits.get(other) ?? [];
        const ratio = median(seen.map((one, at) => one.perCoreSecond / (beside[at] ?? one).perCoreSecond));
        return `${ratio.toFixed(1)} × ${other.name}`;
      });
    console.log(
      way.name.padEnd(44),
      `${of((one) => one.perSecond).toFixed(0)}/s`.padStart(9),
      `${of((one) => one.perCoreSecond).toFixed(0)} per core-second`.padStart(22),
      `${of((one) => one.nodeMicros).toFixed(0)} + ${of((one) => one.postgresMicros).toFixed(0)} µs`.padStart(
        14,
      ),
      `p50 ${of((one) => one.p50).toFixed(0)} ms, p99 ${of((one) => one.p99).toFixed(0)} ms`.padStart(24),
      ` ${ratios.join(", ")}`,
    );
  }
}

async function waysOf(logs: BenchLogs, stack: AsyncDisposableStack): Promise<Way[]> {
  const { database, eventLog } = await logs.replica();
  const pool = Array.from({ length: connections }, () => stack.use(openConnection(logs.url, {})));
  await makeTables(pool[0]!);
  const key = createSecretKey(randomBytes(32));
  const [hot, many, most] = [await logs.newLogs(1), await logs.newLogs(64), await logs.newLogs(1_000)];
  const oneOf = (ids: readonly string[]) => ids[Math.floor(Math.random() * ids.length)] ?? "";
  let turn = 0;
  const newRow = (ids: readonly string[]) => {
    const [log, id] = [oneOf(ids), randomBytes(8).toString("hex")];
    return [logs.orgId, log, randomBytes(16), id, seal(key, data, [logs.orgId, log, id])] as const;
  };
  const row = (statement: string, ids: readonly string[]) => () => {
    turn += 1;
    return pool[turn % connections]!.run(statement, newRow(ids));
  };
  const guardedRow = (ids: readonly string[]) => () => {
    const [org, log, receipt, id, bytes] = newRow(ids);
    return database.system((tx) =>
      tx.execute(sql`select bench_row(${org}, ${log}, ${receipt}, ${id}, ${bytes})`),
    );
  };
  const send = (log: string) => {
    const event = { id: randomBytes(8).toString("hex"), source: "/bench", type: "payment.settled" };
    const known = { key: randomBytes(16), extensions: {}, verified: "none", data };
    return eventLog.accept(logs.orgId, [{ log, ...event, ...known }]);
  };
  const group = (ids: readonly string[]) => () => send(oneOf(ids));
  // The first event of a channel opens its key.
  for (const log of [...hot, ...many, ...most]) await send(log);
  const plain = "select bench_row($1, $2, $3, $4, $5)";
  const numbered = "select bench_numbered_row($1, $2, $3, $4, $5)";
  return [
    { name: "bare row, 64 channels", accept: row(plain, many), beside: [] },
    { name: "row, 64 channels", accept: guardedRow(many), beside: [] },
    {
      name: "group commit, 64 channels",
      accept: group(many),
      beside: ["bare row, 64 channels", "row, 64 channels"],
    },
    { name: "bare numbered row, 1,000 channels", accept: row(numbered, most), beside: [] },
    {
      name: "group commit, 1,000 channels",
      accept: group(most),
      beside: ["bare numbered row, 1,000 channels"],
    },
    { name: "bare numbered row, 1 channel", accept: row(numbered, hot), beside: [] },
    { name: "group commit, 1 channel", accept: group(hot), beside: ["bare numbered row, 1 channel"] },
  ];
}

/** What a server needs that writes a row for each request. */
export async function makeTables(connection: Connection): Promise<void> {
  await connection.run(`create table bench_events (
    org_id text collate "C", log text collate "C", seq bigint, id text, source text, type text, extensions json,
    at timestamptz default now(), data bytea, primary key (org_id, log, seq))`);
  await connection.run(`create table bench_receipts (
    org_id text collate "C", log text collate "C", key bytea, seq bigint, primary key (org_id, log, key))`);
  await connection.run(`create table bench_heads (
    org_id text collate "C", log text collate "C", seq bigint, primary key (org_id, log))`);
  await connection.run("create sequence bench_seq");
  const insert = `insert into bench_events (org_id, log, seq, id, source, type, extensions, data)
    values (org, channel, next, event_id, '/bench', 'payment.settled', '{}', bytes)`;
  const receive = (number: string) => `
    declare next bigint; begin
      ${number}
      insert into bench_receipts values (org, channel, receipt, next) on conflict do nothing;
      if not found then return; end if;
      ${insert};
    end`;
  const define = (name: string, number: string) =>
    connection.run(
      `create function ${name}(org text, channel text, receipt bytea, event_id text, bytes bytea) returns void
       language plpgsql security definer as $$ ${receive(number)} $$`,
    );
  await define("bench_row", "next := nextval('bench_seq');");
  await define(
    "bench_numbered_row",
    `insert into bench_heads as h values (org, channel, 1) on conflict (org_id, log) do update set seq = h.seq + 1
     returning seq into next;`,
  );
}

async function visit({ dataDir }: BenchLogs, { accept }: Way, visitMs: number): Promise<Visit> {
  const latencies: number[] = [];
  const postgresBefore = await postgresCpu(dataDir);
  const before = process.cpuUsage();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() - began < visitMs) {
        const sentAt = performance.now();
        await accept();
        latencies.push(performance.now() - sentAt);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1_000;
  const { user, system } = process.cpuUsage(before);
  const nodeMicros = (user + system) / latencies.length;
  const postgresMicros = (((await postgresCpu(dataDir)) - postgresBefore) * 1e6) / latencies.length;
  const sorted = latencies.toSorted((a, b) => a - b);
  const perCoreSecond = 1e6 / (nodeMicros + postgresMicros);
  return {
    ...{ perSecond: latencies.length / seconds, perCoreSecond, nodeMicros, postgresMicros },
    ...{ p50: at(0.5, sorted), p99: at(0.99, sorted) },
  };
}
