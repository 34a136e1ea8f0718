import { expect, test } from "vitest";
import { createPlaces } from "#src/channels/sources/places.ts";
import type { ClaimedSource } from "#src/channels/sources/source.ts";

const claimed = { channelId: "chn", lease: "l", connectionId: "scn", position: {}, failures: 0 };
const stream = (orgId: string, host: string): ClaimedSource => ({
  ...{ ...claimed, orgId, baseUrl: `https://${host}/api`, kind: "sse" },
  config: { path: "", query: [], idleSeconds: 90 },
});
const poll = (orgId: string, host: string): ClaimedSource => ({
  ...{ ...claimed, orgId, baseUrl: `https://${host}/api`, kind: "poll" },
  config: {
    ...{ path: "", query: [], intervalSeconds: 60, items: "", id: "/id", defaultType: "item" },
    ...{ order: "descending", isTimeCursor: false, start: "now" },
  },
});
const endless = () => new Promise<void>(() => {});

test("an organisation reads at most 50 streams of one host, and what waits is told for what; others are not held up", async () => {
  const places = createPlaces();
  const first = Promise.withResolvers<void>();
  const ended = places.read(stream("a", "one"), () => first.promise);
  for (let i = 1; i < 50; i++) expect(places.read(stream("a", "one"), endless)).toBeInstanceOf(Promise);
  expect(places.read(stream("a", "one"), endless)).toBe(
    "a place: 50 event streams of your organisation with this host are under way, which is the most",
  );
  expect(places.read(stream("a", "two"), endless)).toBeInstanceOf(Promise);
  expect(places.read(stream("b", "one"), endless)).toBeInstanceOf(Promise);
  first.resolve();
  await ended;
  expect(places.read(stream("a", "one"), endless)).toBeInstanceOf(Promise);
});

test("an organisation reads at most 200 streams, and a replica at most 500", () => {
  const places = createPlaces();
  const opened: unknown[] = [];
  const open = (org: string, count: number) => {
    for (let i = 0; i < count; i++) opened.push(places.read(stream(org, `host-${i % 10}`), endless));
    return opened.at(-1);
  };
  expect(open("a", 201)).toBe(
    "a place: 200 event streams of your organisation are under way, which is the most",
  );
  open("b", 200);
  expect(open("c", 101)).toBe("a place: 500 event streams of this replica are under way, which is the most");
});

test("at most 4 polls of an organisation ask one host at once, the next when one has ended", async () => {
  const places = createPlaces();
  const asking: PromiseWithResolvers<void>[] = [];
  const ask = () => {
    const one = Promise.withResolvers<void>();
    asking.push(one);
    return one.promise;
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 9; i++) void places.read(poll("a", "slow"), ask);
  await turn();
  expect(asking).toHaveLength(4);
  void places.read(poll("a", "other"), ask);
  void places.read(poll("b", "slow"), ask);
  await turn();
  expect(asking).toHaveLength(6);
  asking[0]?.resolve();
  await turn();
  expect(asking).toHaveLength(7);
});
