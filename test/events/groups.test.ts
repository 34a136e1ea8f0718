import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf, type PatchbayClient } from "#src/client/node.ts";
import { startServiceWithLogs, type ServiceWithLogs } from "./service-with-logs.ts";

let logs: ServiceWithLogs;
let groups: PatchbayClient["eventGroups"];
beforeAll(async () => {
  logs = await startServiceWithLogs();
  groups = logs.service.org.client.eventGroups;
});
afterAll(() => logs[Symbol.asyncDispose]());

type NewGroup = Parameters<PatchbayClient["eventGroups"]["createEventGroup"]>[0];

/** A group on a new log with events of these subjects. */
async function groupOf(subjects: readonly (string | undefined)[], more: NewGroup = {}) {
  const log = await logs.newLog();
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
