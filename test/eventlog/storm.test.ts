import { expect, test } from "vitest";
import { assessDamage, startSenders } from "../support/event-storm.ts";
import { arrival, startEventLog } from "../support/event-log.ts";

const kills = 15;
const connectionOfService = `
  select pg_terminate_backend(pid) as killed from pg_stat_activity
  where datname = current_database() and application_name = 'patchbay' order by random() limit 1`;

test("while backends are killed under two replicas, nothing that was answered for is lost, doubled or renumbered, and a follower sees all", async () => {
  await using storm = await startEventLog();
  const logs = [await storm.newLog(), await storm.newLog(), await storm.newLog()];
  const replicas = [storm.eventLog, await storm.replica()];
  let turn = 0;
  const senders = startSenders({
    ...{ count: 12, logs },
    async send({ log, id, key }) {
      turn += 1;
      const [accepted] = await replicas[turn % 2]!.accept(storm.orgId, [
        // Some are long, which takes another way.
        arrival(log, { id, key, data: Buffer.alloc(turn % 40 === 0 ? 300_000 : 100) }),
      ]);
      return accepted!.seq;
    },
  });
  // Each kill comes between two answers, wherever the others are by then.
  for (let killed = 0, before = 0; killed < kills;) {
    await expect
      .poll(() => senders.acknowledged.length, { interval: 1, timeout: 20_000 })
      .toBeGreaterThan(before + 5);
    before = senders.acknowledged.length;
    killed += (await storm.postgres.asOwner(connectionOfService)).length;
  }
  await senders.end();
  const none = { lost: 0, doubled: 0, misnumbered: 0, logsWithGaps: 0 };
  expect(await assessDamage(storm.postgres.asOwner, logs, senders.acknowledged)).toEqual(none);

  const [log = ""] = logs;
  const { last } = await storm.eventLog.bounds(storm.orgId, log);
  const seen: number[] = [];
  for await (const batch of replicas[1]!.tail.follow(storm.orgId, log, 0, new AbortController().signal)) {
    seen.push(...batch.map(({ seq }) => seq));
    if (seen.length >= last) break;
  }
  expect(seen).toEqual(Array.from({ length: last }, (_, i) => i + 1));
});
