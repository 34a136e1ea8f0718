import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createPatchbayClient } from "#src/client/grpc-js.ts";
import { startEvents, type TestEvents } from "./support.ts";

const mebibyte = 1024 * 1024;
let logs: TestEvents;
let client: ReturnType<typeof createPatchbayClient>;
beforeAll(async () => {
  logs = await startEvents();
  client = createPatchbayClient({
    address: new URL(logs.service.url).host,
    credentials: credentials.createInsecure(),
    apiKey: logs.service.org.secret,
    // What gRPC clients take unless they are told otherwise.
    channelOptions: { "grpc.max_receive_message_length": 4 * mebibyte },
  });
});
afterAll(async () => {
  client.close();
  await logs[Symbol.asyncDispose]();
});

/** Logs whose events are each within the limits of a channel, and would together be too long for one message. */
const cases: readonly (readonly [string, () => Promise<string>, number])[] = [
  [
    "large data",
    async () => {
      const log = await logs.newChannel();
      await logs.send(log, {}, { data: Buffer.alloc(5 * mebibyte) }, {});
      return log;
    },
    3,
  ],
  [
    "many attributes",
    async () => {
      const log = await logs.newChannel();
      const extensions = Object.fromEntries(
        Array.from({ length: 60 }, (_, i) => [`ext${i}`, "\u{20ac}".repeat(1_000)]),
      );
      for (let i = 0; i < 6; i += 1) {
        await logs.send(log, ...Array.from({ length: 5 }, (_, n) => ({ id: `${i}.${n}`, extensions })));
      }
      return log;
    },
    30,
  ],
];

test.each(cases)("a gRPC client with the usual limit gets past events with %s", async (_, fill, count) => {
  const log = await fill();
  const whole = Array.from({ length: count }, (_, i) => i + 1);
  const { events, eventGroups } = client;

  const listed: number[] = [];
  for (let after = 0n; listed.length < count;) {
    const page = await events.listEvents({ log, after, withData: true, pageSize: 1000 });
    listed.push(...page.events.map(({ seq }) => Number(seq)));
    after = page.position;
  }
  expect(listed).toEqual(whole);

  const streamed: number[] = [];
  const logsFrom = [{ log, from: { case: "earliest", value: true } as const }];
  for await (const message of events.subscribe({ logs: logsFrom })) {
    streamed.push(...message.events.map(({ seq }: { seq: bigint }) => Number(seq)));
    // A client that is cut goes on here.
    expect(Number(message.positions[0].seq)).toBe(streamed.length);
    if (streamed.length === count) break;
  }
  expect(streamed).toEqual(whole);

  const { group } = await eventGroups.createEventGroup({ name: "workers", log, from: logsFrom[0]!.from });
  const id = group!.id;
  // Also those that were delivered before, which are read in another way.
  for (const attempt of [1, 2]) {
    const pulled: number[] = [];
    const tokens: string[] = [];
    while (pulled.length < count) {
      const { deliveries } = await eventGroups.pullEvents({ id, max: 500 });
      for (const delivery of deliveries) expect(delivery.attempt).toBe(attempt);
      pulled.push(...deliveries.map(({ event }) => Number(event!.seq)));
      tokens.push(...deliveries.map(({ token }) => token));
    }
    expect(pulled).toEqual(whole);
    await eventGroups.nackEvents({ id, tokens });
  }
});
