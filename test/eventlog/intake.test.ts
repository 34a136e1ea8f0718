import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { arrival, startEventLog } from "../support/event-log.ts";

const keyOf = (id: string) => createHash("sha256").update(id).digest().subarray(0, 16);

test("numbers begin at 1 and have no gaps, whoever sends at the same time, and what is known keeps its number", async () => {
  await using logs = await startEventLog();
  const { eventLog, orgId } = logs;
  const [one, two] = [await logs.newLog(), await logs.newLog()];
  const send = (log: string, id: string) =>
    eventLog.accept(orgId, [arrival(log, { id, key: keyOf(id), data: Buffer.from([0xff, 0, 1]) })]);
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, i) => send(i % 3 === 0 ? two : one, String(i % 200))),
  );
  const events = await eventLog.read(orgId, one, { after: 0, limit: 1_000, maxBytes: 1 << 20 });
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  expect(answers.flat().filter(({ isNew }) => isNew)).toHaveLength(
    events.length + (await eventLog.bounds(orgId, two)).last,
  );
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
  expect(events[0]?.data).toEqual(Buffer.from([0xff, 0, 1]));
  const again = await send(one, events[5]!.id);
  expect(again).toEqual([{ seq: 6, isNew: false }]);
});
