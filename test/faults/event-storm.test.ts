import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { fileURLToPath } from "node:url";
import { openConnection, type Rows } from "#src/db/connection.ts";
import { assessDamage, startSenders, type Damage, type Sending } from "../support/event-storm.ts";
import { startLogs, type BenchLogs } from "../bench/events/logs.ts";

/** What the storm did and what it broke. */
interface EventStormFigures extends Damage {
  readonly killedProcesses: number;
  readonly killedBackends: number;
  readonly killedServers: number;
  readonly attempts: number;
  readonly acknowledged: number;
  /** Of what was acknowledged, what the subscriber was not given once and in order. */
  readonly unseen: number;
  readonly outOfOrder: number;
}

const receiver = fileURLToPath(new URL("./support/receiver-process.ts", import.meta.url));
const longestStormMs = 120_000;
const mostAtOnce = 32;

/** A process that receives, which another takes the place of when it is killed. */
interface Receiver {
  readonly child: ChildProcess;
  readonly port: number;
}

/**
 * Two processes take events in for the same logs, while they, the backends of Postgres and its server are killed at
 * random. Senders repeat each event until it is answered for; a subscriber follows and goes on from where it was.
 */
async function run(minimumKills: number): Promise<EventStormFigures> {
  await using logs = await startLogs();
  const names = await logs.newLogs(8);
  const start = () => startReceiver(logs);
  const receivers = [await start(), await start()];
  const senders = startSenders({
    count: mostAtOnce,
    logs: names,
    send: (sending) => put(receivers, sending),
  });
  const subscriber = await subscribe(logs, names);
  const kills = { killedProcesses: 0, killedBackends: 0, killedServers: 0 };
  const sum = () => kills.killedProcesses + kills.killedBackends + kills.killedServers;
  const end = performance.now() + longestStormMs;
  while (sum() < minimumKills && performance.now() < end) {
    await sleep(50 + Math.random() * 250);
    const chance = Math.random();
    if (chance < 0.25) {
      const which = Math.random() < 0.5 ? 0 : 1;
      await kill(receivers[which]!.child);
      receivers[which] = await start();
      kills.killedProcesses += 1;
    } else if (chance < 0.32) {
      process.kill(
        Number((await readFile(join(logs.dataDir, "postgres/postmaster.pid"), "utf8")).split("\n")[0]),
        "SIGKILL",
      );
      await untilServed(logs.url);
      kills.killedServers += 1;
    } else kills.killedBackends += await killBackend(logs.url);
  }
  await senders.end();
  const last = await highest(logs.url, names);
  const seen = await subscriber.upTo(last);
  for (const { child } of receivers) await kill(child);
  const { acknowledged, attempts } = senders;
  const damage = await assessDamage((...asked) => ask(logs.url, ...asked), names, acknowledged);
  const unseen = acknowledged.filter(({ log, id }) => !seen.ids.has(`${log}/${id}`)).length;
  return {
    ...kills,
    ...{ attempts: attempts(), acknowledged: acknowledged.length },
    ...damage,
    ...{ unseen, outOfOrder: seen.outOfOrder },
  };
}

async function startReceiver({ url, rootKeyText, orgId }: BenchLogs): Promise<Receiver> {
  for (;;) {
    const child = spawn(process.execPath, [receiver, url, rootKeyText, orgId], {
      stdio: ["ignore", "pipe", "ignore"],
      env: {},
    });
    const [line] = (await Promise.race([
      once(createInterface(child.stdout), "line"),
      once(child, "exit"),
    ])) as unknown[];
    // It may have been started while the server was away.
    if (typeof line === "string") return { child, port: Number(line) };
  }
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

async function put(receivers: readonly Receiver[], { log, id }: Sending): Promise<number> {
  const { port = 0 } = receivers[Math.random() < 0.5 ? 0 : 1] ?? {};
  const answer = await fetch(`http://127.0.0.1:${port}/${log}/${id}`, {
    method: "PUT",
    signal: AbortSignal.timeout(5_000),
  });
  if (answer.status !== 200) throw new Error(`answered ${answer.status}`);
  return Number(await answer.text());
}

/** Follows all logs, and begins again behind what it has when it is cut off. */
async function subscribe(logs: BenchLogs, names: readonly string[]) {
  const { eventLog } = await logs.replica();
  const ids = new Set<string>();
  const positions = new Map(names.map((name) => [name, 0]));
  const ending = new AbortController();
  let outOfOrder = 0;

  async function follow(log: string): Promise<void> {
    while (!ending.signal.aborted) {
      try {
        for await (const batch of eventLog.tail.follow(
          logs.orgId,
          log,
          positions.get(log) ?? 0,
          ending.signal,
        )) {
          for (const { seq, id } of batch) {
            if (seq !== (positions.get(log) ?? 0) + 1) outOfOrder += 1;
            positions.set(log, seq);
            ids.add(`${log}/${id}`);
          }
        }
      } catch {
        await sleep(20);
      }
    }
  }

  const following = names.map(follow);
  return {
    async upTo(last: ReadonlyMap<string, number>) {
      const end = performance.now() + 60_000;
      const isBehind = () => names.some((name) => (positions.get(name) ?? 0) < (last.get(name) ?? 0));
      while (isBehind() && performance.now() < end) await sleep(50);
      ending.abort();
      await Promise.all(following);
      return { ids, outOfOrder };
    },
  };
}

async function highest(url: string, names: readonly string[]): Promise<Map<string, number>> {
  const rows = await ask(url, "select log, seq from log_heads where log = any($1::text[])", [names]);
  return new Map(rows.map((row) => [String(row["log"]), Number(row["seq"])]));
}

async function killBackend(url: string): Promise<number> {
  const victim = `select pg_terminate_backend(pid) from (
    select pid from pg_stat_activity where application_name = 'patchbay' order by random() limit 1) as victim`;
  return (await ask(url, victim).catch(() => [])).length;
}

async function untilServed(url: string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    await sleep(50);
    if ((await ask(url, "select 1").catch(() => [])).length > 0) return;
  }
  throw new Error("Postgres did not come back");
}

/** A connection for each question: the server may have ended since the last one. */
async function ask(
  url: string,
  ...question: Parameters<ReturnType<typeof openConnection>["run"]>
): Promise<Rows> {
  await using connection = openConnection(url, { application_name: "storm" });
  return await connection.run(...question);
}

test("while two processes that take events in, the sessions of Postgres and its server are killed at random, each event is stored and followed once and in order", async () => {
  const { lost, doubled, misnumbered, logsWithGaps, unseen, outOfOrder, ...storm } = await run(16);
  const damage = { lost, doubled, misnumbered, logsWithGaps, unseen, outOfOrder };
  expect(damage).toEqual({ lost: 0, doubled: 0, misnumbered: 0, logsWithGaps: 0, unseen: 0, outOfOrder: 0 });
  expect(storm.killedProcesses + storm.killedBackends + storm.killedServers).toBeGreaterThanOrEqual(16);
});
