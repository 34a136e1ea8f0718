import { setTimeout as sleep } from "node:timers/promises";
import { openConnection } from "#src/db/connection.ts";
import { at } from "../figures.ts";
import type { BenchLogs } from "./logs.ts";

const seconds = 6;

/**
 * How long after it is sent an event is in the hands of a subscriber that has other connections, and whether each came,
 * once and in order. With a foreign transaction, another table's writer stays open for three seconds meanwhile.
 */
export async function benchLateness(logs: BenchLogs): Promise<void> {
  const [sender, receiver] = [await logs.replica(), await logs.replica()];
  for (const [perSecond, isForeign] of [
    [100, false],
    [400, false],
    [800, false],
    [100, true],
  ] as const) {
    const [log = ""] = await logs.newLogs(1);
    const ending = new AbortController();
    const sentAt: number[] = [];
    const lateness: number[] = [];
    let misplaced = 0;
    const total = perSecond * seconds;
    const receiving = (async () => {
      for await (const batch of receiver.eventLog.tail.follow(logs.orgId, log, 0, ending.signal)) {
        for (const { seq, id } of batch) {
          if (seq !== lateness.length + 1) misplaced += 1;
          lateness.push(performance.now() - (sentAt[Number(id)] ?? 0));
        }
        if (lateness.length >= total) return;
      }
    })();
    const foreign = isForeign ? holdForeign(logs.url) : undefined;
    const began = performance.now();
    const sending: Promise<unknown>[] = [];
    for (let i = 0; i < total; i++) {
      const dueAt = began + (i * 1_000) / perSecond;
      const early = dueAt - performance.now();
      if (early > 0) await sleep(early);
      sentAt[i] = performance.now();
      const event = { id: String(i), source: "/bench", type: "test", extensions: {}, verified: "none" };
      sending.push(
        sender.eventLog.accept(logs.orgId, [{ log, key: undefined, ...event, data: Buffer.alloc(1_000) }]),
      );
    }
    await Promise.all(sending);
    await Promise.race([receiving, sleep(10_000, undefined, { ref: false })]);
    ending.abort();
    await foreign;
    const sorted = lateness.toSorted((a, b) => a - b);
    const figures = `p50 ${at(0.5, sorted).toFixed(1)} ms, p99 ${at(0.99, sorted).toFixed(1)} ms`;
    const name = `${perSecond}/s${isForeign ? ", a foreign transaction open for 3 s" : ""}`;
    console.log(name.padEnd(44), figures, ` missing ${total - lateness.length}, out of place ${misplaced}`);
  }
}

async function holdForeign(url: string): Promise<void> {
  await using connection = openConnection(url, {});
  await connection.run("create table if not exists bench_foreign (n int)");
  await sleep(1_000);
  await connection.run("begin");
  await connection.run("insert into bench_foreign values (1)");
  await sleep(3_000);
  await connection.run("commit");
}
