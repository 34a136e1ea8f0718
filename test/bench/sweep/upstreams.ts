import { setTimeout as sleep } from "node:timers/promises";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { freePort } from "../../support/ports.ts";
import { at } from "../figures.ts";
import type { BenchPostgres } from "../patchbay.ts";
import { startServer, type Server } from "../server.ts";
import { putDueConnections } from "./due-connections.ts";

const organisations = 20;
const each = 100;
const connections = organisations * each;
const quietMs = 15_000;
const periodMs = 60_000;
const callers = 8;

/**
 * 2,000 services on addresses of their own, of which one in ten hangs and one in ten refuses, are all due at once. How
 * soon are they probed, and what do callers of the API notice?
 */
export async function benchUpstreams(postgres: BenchPostgres): Promise<void> {
  const founded = await postgres.found("upstreams");
  await using owner = openConnection(founded.databaseUrl, { statement_timeout: 0 });
  await using siblings = await startServer("siblings");
  await using patchbay = await founded.start({ BENCH_SWEEP: "on" });
  const call = () => whoAmI(patchbay, founded.apiKey);

  const quiet = await latenciesUntil(call, sleep(quietMs));
  const baseUrlOf = await placesOf(siblings);
  const since = performance.now();
  await putDueConnections(owner, { organisations, each, baseUrlOf });
  let probed = 0;
  const busy = await latenciesUntil(call, async () => (probed = await probedIn(owner, since)));
  console.log(
    `${probed} of ${connections} services probed`.padEnd(48),
    `${((performance.now() - since) / 1_000).toFixed(1)} s; p99 of a call ${at(0.99, busy).toFixed(1)} ms,`,
    `${(at(0.99, busy) / at(0.99, quiet)).toFixed(1)} × ${at(0.99, quiet).toFixed(1)} ms without the sweep`,
  );
}

/** Each service at a host of its own. */
async function placesOf({ port }: Server): Promise<(n: number) => string> {
  const refusing = await freePort();
  return (n) => {
    const host = `127.1.${n >> 8}.${n & 255}`;
    if (n % 10 === 0) return `http://${host}:${refusing}`;
    return `http://${host}:${port}/${n % 10 === 1 ? "hang" : "answer"}`;
  };
}

/** Resolves when all were probed, or a period is over, with how many were. */
async function probedIn(owner: Connection, since: number): Promise<number> {
  let probed = 0;
  while (probed < connections && performance.now() - since < periodMs) {
    await sleep(500);
    const [row] = await owner.run(
      "select count(*)::int as n from connection_health where recent_at[23] < recent_at[24]",
    );
    probed = Number(row?.["n"]);
  }
  return probed;
}

/** Callers who ask one after another, until the work is over. */
async function latenciesUntil(
  call: () => Promise<void>,
  work: Promise<unknown> | (() => Promise<unknown>),
): Promise<number[]> {
  let isOver = false;
  const latencies: number[] = [];
  const ask = async () => {
    while (!isOver) {
      const since = performance.now();
      await call();
      latencies.push(performance.now() - since);
    }
  };
  const asking = Promise.all(Array.from({ length: callers }, ask));
  await (typeof work === "function" ? work() : work);
  isOver = true;
  await asking;
  return latencies.toSorted((one, other) => one - other);
}

async function whoAmI({ port }: Server, apiKey: string): Promise<void> {
  const reply = await fetch(`http://127.0.0.1:${port}/api/auth/me`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  await reply.arrayBuffer();
  if (reply.status !== 200) throw new Error(`a call was answered with ${reply.status}`);
}
