import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf, type PatchbayClient } from "#src/client/node.ts";
import { startEvents, type TestEvents } from "./support.ts";

let logs: TestEvents;
let groups: PatchbayClient["eventGroups"];
beforeAll(async () => {
  logs = await startEvents();
  groups = logs.service.org.client.eventGroups;
});
afterAll(() => logs[Symbol.asyncDispose]());

type NewGroup = Parameters<PatchbayClient["eventGroups"]["createEventGroup"]>[0];

/** A group on a new log with events of these subjects. */
async function groupOf(subjects: readonly (string | undefined)[], more: NewGroup = {}) {
  const log = await logs.newChannel();
  const { group } = await groups.createEventGroup({ name: "workers", log, ...more });
  await send(log, subjects);
  return { id: group!.id, log };
}

async function send(log: string, subjects: readonly (string | undefined)[]) {
  await logs.send(log, ...subjects.map((subject) => ({ subject })));
}

async function pull(id: string, max = 100) {
  const { deliveries } = await groups.pullEvents({ id, max });
  return deliveries.map(({ token, event, attempt }) => ({ token, attempt, seq: Number(event!.seq) }));
}

const seqsOf = (pulled: readonly { seq: number }[]) => pulled.map(({ seq }) => seq);
const tokensOf = (pulled: readonly { token: string }[]) => pulled.map(({ token }) => token);
const three = [undefined, undefined, undefined];
const seconds = (n: number) => logs.service.clock.advance(n * 1000);

describe("a consumer", () => {
  test("is given what others do not have, with its data, and never again once it is acknowledged", async () => {
    const { id, log } = await groupOf([]);
    await logs.send(log, { data: Buffer.from([0xff, 0]), subject: "s" }, {}, {});
    const { deliveries } = await groups.pullEvents({ id, max: 2 });
    expect(deliveries[0]).toMatchObject({ attempt: 1, event: { seq: 1n, log, subject: "s" } });
    expect(Buffer.from(deliveries[0]!.event!.data!)).toEqual(Buffer.from([0xff, 0]));
    const others = await pull(id);
    expect(seqsOf(others)).toEqual([3]);
    await groups.ackEvents({ id, tokens: [...tokensOf(deliveries), ...tokensOf(others)] });
    seconds(3600);
    expect(await pull(id)).toEqual([]);
    const { group } = await groups.getEventGroup({ id });
    expect(group).toMatchObject({ position: 3n, behind: 0n, inFlight: 0, waiting: 0, dead: 0 });
  });

  test("that repeats an acknowledgement, as its answer was lost, is answered as before", async () => {
    const { id } = await groupOf(three);
    const tokens = tokensOf(await pull(id));
    await groups.ackEvents({ id, tokens });
    await groups.ackEvents({ id, tokens });
  });

  test("that is too late is refused, by name and without any effect, before and after another has its event", async () => {
    const { id } = await groupOf(three);
    const [first, second] = await pull(id, 2);
    seconds(29);
    await groups.extendEvents({ id, tokens: [second!.token], seconds: 60 });
    seconds(2);
    const late = () => groups.ackEvents({ id, tokens: [first!.token, second!.token] });
    const refusal = { code: Code.FailedPrecondition, rawMessage: expect.stringContaining(first!.token) };
    await expect(late()).rejects.toMatchObject(refusal);
    const again = await pull(id);
    expect(again.map(({ seq, attempt }) => [seq, attempt])).toEqual([[1, 2]]);
    await expect(late()).rejects.toMatchObject(refusal);
    await expect(groups.nackEvents({ id, tokens: [first!.token] })).rejects.toMatchObject(refusal);
    await expect(groups.extendEvents({ id, tokens: [first!.token] })).rejects.toMatchObject(refusal);
    await groups.ackEvents({ id, tokens: [second!.token, again[0]!.token] });
    expect(reasonOf(await late().catch((error: unknown) => error))).toBe(undefined);
  });

  test("that gives an event back is passed over for as long as it says", async () => {
    const { id } = await groupOf([undefined]);
    const [one] = await pull(id);
    await groups.nackEvents({ id, tokens: [one!.token], delaySeconds: 100 });
    seconds(99);
    expect(await pull(id)).toEqual([]);
    seconds(2);
    expect(await pull(id)).toMatchObject([{ seq: 1, attempt: 2 }]);
  });

  test("that waits is answered as soon as an event comes, or one is given back", async () => {
    const { id, log } = await groupOf([]);
    const waiting = groups.pullEvents({ id, waitSeconds: 30 });
    await send(log, [undefined]);
    const [first] = (await waiting).deliveries;
    const next = groups.pullEvents({ id, waitSeconds: 30 });
    await groups.nackEvents({ id, tokens: [first!.token] });
    expect((await next).deliveries).toMatchObject([{ attempt: 2 }]);
  });
});

describe("an event that fails", () => {
  test("is dead after as many deliveries as the group allows, is listed, and delivered again when asked for", async () => {
    const { id } = await groupOf([undefined], { maxDeliveries: 3 });
    for (const attempt of [1, 2, 3]) {
      const pulled = await pull(id);
      expect(pulled).toMatchObject([{ seq: 1, attempt }]);
      // Given back by itself, or by its consumer.
      if (attempt === 2) await groups.nackEvents({ id, tokens: tokensOf(pulled) });
      else seconds(31);
    }
    const { events } = await groups.listDeadEvents({ id });
    expect(events).toMatchObject([{ seq: 1n, deliveries: 3, reason: "deliveries", event: { seq: 1n } }]);
    expect(events[0]!.event!.data).toBe(undefined);
    expect((await groups.getEventGroup({ id })).group).toMatchObject({ dead: 1, waiting: 0, inFlight: 0 });
    expect(await pull(id)).toEqual([]);
    const unknown = groups.redeliverEvents({ id, seqs: [1n, 2n] });
    await expect(unknown).rejects.toMatchObject({
      code: Code.NotFound,
      rawMessage: expect.stringContaining(": 2;"),
    });
    await groups.redeliverEvents({ id, seqs: [1n] });
    expect(await pull(id)).toMatchObject([{ seq: 1, attempt: 1 }]);
    expect((await groups.listDeadEvents({ id })).events).toEqual([]);
  });

  test("and is dead is listed page by page, and not for a token of another list", async () => {
    const { id } = await groupOf(three, { maxDeliveries: 1 });
    await groups.nackEvents({ id, tokens: tokensOf(await pull(id)) });
    const listed: number[] = [];
    let pageToken: string | undefined = "";
    while (pageToken !== undefined) {
      const page = await groups.listDeadEvents({ id, pageSize: 1, pageToken });
      listed.push(...page.events.map(({ seq }) => Number(seq)));
      pageToken = page.nextPageToken;
    }
    expect(listed).toEqual([1, 2, 3]);
    await groups.createEventGroup({ name: "another", log: "audit" });
    const { nextPageToken: foreign } = await groups.listEventGroups({ pageSize: 1 });
    for (const asked of [id, "grp_unknown"]) {
      const refused = groups.listDeadEvents({ id: asked, pageToken: foreign! });
      await expect(refused).rejects.toMatchObject({ code: Code.InvalidArgument });
    }
  });

  test("and is dead is forgotten when no log would keep it any more", async () => {
    const { id } = await groupOf([undefined], { maxDeliveries: 1 });
    await groups.nackEvents({ id, tokens: tokensOf(await pull(id)) });
    const dead = async () => (await groups.getEventGroup({ id })).group!.dead;
    seconds(89 * 24 * 3600);
    await logs.service.app.loops.groups.runOnce();
    expect(await dead()).toBe(1);
    seconds(2 * 24 * 3600);
    await logs.service.app.loops.groups.runOnce();
    expect(await dead()).toBe(0);
  });

  test.each(["none", "subject", "log"])(
    "and ends its consumer each time takes no other with it, with the order %s",
    async (order) => {
      const { id } = await groupOf(["a", "a", "b", undefined, "a"], { order, maxDeliveries: 4 });
      const done = new Set<number>();
      for (let turns = 0; turns < 20; turns++) {
        const pulled = await pull(id, 3);
        // Consumers begin at the front, and the second event is one that they do not survive.
        const survived = pulled.slice(0, pulled.findIndex(({ seq }) => seq === 2) >>> 0);
        for (const { seq } of survived) done.add(seq);
        if (survived.length > 0) await groups.ackEvents({ id, tokens: tokensOf(survived) });
        seconds(31);
      }
      expect([...done].toSorted((a, b) => a - b)).toEqual([1, 3, 4, 5]);
      expect((await groups.listDeadEvents({ id })).events.map(({ seq }) => Number(seq))).toEqual([2]);
    },
  );
});

describe("with the order", () => {
  test("subject, an event holds up those of its subject and no others", async () => {
    const { id } = await groupOf(["a", "b", "a", undefined, "b", undefined], { order: "subject" });
    const first = await pull(id, 1);
    const second = await pull(id);
    expect([seqsOf(first), seqsOf(second)]).toEqual([[1], [2, 4, 5, 6]]);
    expect((await groups.getEventGroup({ id })).group).toMatchObject({ waiting: 1, inFlight: 5 });
    await groups.ackEvents({ id, tokens: tokensOf(first) });
    expect(seqsOf(await pull(id))).toEqual([3]);
  });

  test("log, an event holds up all behind it, and what comes behind a failure is given back with it", async () => {
    const { id } = await groupOf([...three, undefined], { order: "log" });
    const [one, two, three_] = await pull(id, 3);
    expect(await pull(id)).toEqual([]);
    await groups.ackEvents({ id, tokens: [one!.token] });
    expect(await pull(id)).toEqual([]);
    await groups.nackEvents({ id, tokens: [two!.token] });
    await expect(groups.ackEvents({ id, tokens: [three_!.token] })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
    });
    const again = await pull(id);
    expect(again.map(({ seq, attempt }) => [seq, attempt])).toEqual([[2, 2], [3, 1]]); // prettier-ignore
    await groups.nackEvents({ id, tokens: [again[0]!.token], delaySeconds: 5 });
    expect(await pull(id)).toEqual([]);
    seconds(6);
    const last = await pull(id);
    await groups.ackEvents({ id, tokens: tokensOf(last) });
    expect(seqsOf(await pull(id))).toEqual([4]);
  });

  test("log, a consumer that waits is answered when another acknowledges", async () => {
    const { id } = await groupOf([undefined, undefined], { order: "log" });
    const [one] = await pull(id, 1);
    const waiting = groups.pullEvents({ id, waitSeconds: 30 });
    await groups.ackEvents({ id, tokens: [one!.token] });
    expect((await waiting).deliveries).toMatchObject([{ event: { seq: 2n } }]);
  });
});
