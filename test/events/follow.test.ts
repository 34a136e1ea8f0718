import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as node from "#src/client/node.ts";
import * as web from "#src/client/web.ts";
import { layWire } from "../client/wire.ts";
import { startEvents, type TestEvents } from "./support.ts";

let events: TestEvents;
beforeAll(async () => {
  events = await startEvents();
});
afterAll(() => events[Symbol.asyncDispose]());

const dayMs = 24 * 60 * 60 * 1000;

describe.each([
  ["patchbay/client", node],
  ["patchbay/web", web],
])("a follower of %s", (_, { createPatchbayClient, EventsExpired }) => {
  const connect = (baseUrl = events.service.url) =>
    createPatchbayClient({ baseUrl, apiKey: events.service.org.secret });

  test("goes on behind what was handled when its connection is cut again and again", async () => {
    await using wire = await layWire(events.service.url);
    const log = await events.newChannel();
    await events.send(log, ...Array.from({ length: 5 }, () => ({})));
    const seen: number[] = [];
    for await (const { seq } of connect(wire.url).events.follow({ logs: [log], from: "earliest" })) {
      seen.push(Number(seq));
      if (seq === 12n) break;
      if (seq % 3n !== 0n) continue;
      await wire.cut();
      await events.send(log, {}, {}, {});
      await wire.mend();
    }
    expect(seen).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  });

  test("of several logs goes on where it was in each", async () => {
    await using wire = await layWire(events.service.url);
    const log = await events.newChannel();
    await events.send(log, {});
    const following = connect(wire.url).events.follow({ logs: [log, "audit"], from: { [log]: 1, audit: 1 } });
    const first = await following.next();
    expect(first.value).toMatchObject({ log: "audit", seq: 2n });
    const coming = following.next();
    await wire.cut();
    await events.send(log, { type: "order.paid" });
    await wire.mend();
    const found = [(await coming).value];
    while (found.at(-1)?.log !== log) found.push((await following.next()).value);
    expect(found.at(-1)).toMatchObject({ log, seq: 2n, type: "order.paid" });
    await following.return();
  });

  test("has data of any length, which a stream of messages leaves out", async () => {
    const log = await events.newChannel();
    const data = Buffer.alloc(3 * 1024 * 1024, "large");
    await events.send(log, { data }, { data: Buffer.from("small") });
    const { events: client } = connect();
    for await (const { events: sent } of client.subscribe({
      logs: [{ log, from: { case: "earliest", value: true } }],
    })) {
      if (sent.length === 0) continue;
      expect(sent[0]).toMatchObject({ dataBytes: data.length });
      expect(sent[0]?.data).toBeUndefined();
      break;
    }
    const following = client.follow({ logs: [log], from: "earliest" });
    for (const expected of [data, Buffer.from("small")]) {
      const { value } = await following.next();
      expect(Buffer.from(value?.data ?? []).equals(expected)).toBe(true);
    }
    await following.return();
  });

  test("ends without an error when its signal aborts, whatever it waits for", async () => {
    const log = await events.newChannel();
    for (const baseUrl of [events.service.url, "http://127.0.0.1:9"]) {
      const stop = new AbortController();
      const next = connect(baseUrl)
        .events.follow({ logs: [log], signal: stop.signal })
        .next();
      stop.abort();
      expect(await next).toEqual({ value: undefined, done: true });
    }
  });

  test("is told what no longer is kept, and where to go on", async () => {
    const log = await events.newChannel();
    await events.send(log, {}, {}, {});
    events.service.clock.advance(9 * dayMs);
    await events.service.app.loops.logs.runOnce();
    await events.send(log, {});
    const error = await connect()
      .events.follow({ logs: [log], from: { [log]: 1 } })
      .next()
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(EventsExpired);
    expect(error).toMatchObject({ log, earliest: 4n });
  });

  test("throws what another attempt would not mend", async () => {
    const keyless = createPatchbayClient({ baseUrl: events.service.url, apiKey: "" });
    await expect(keyless.events.follow({ logs: ["audit"] }).next()).rejects.toThrow(/apiKey is empty/);
    const following = connect().events.follow({ logs: ["chn_missing"] });
    await expect(following.next()).rejects.toMatchObject({ code: Code.NotFound });
  });
});
