import { expect, test, vi } from "vitest";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { createFeed } from "#src/events/feed.ts";
import { loggedEvent } from "../support/deliveries.ts";

test("a reader that is gone leaves its logs, also with a batch that it never took", async () => {
  const following = new Set<string>();
  async function* follow(_: string, log: string): AsyncGenerator<readonly LoggedEvent[], void, undefined> {
    following.add(log);
    try {
      for (let seq = 1; ; seq += 1) yield [loggedEvent({ log, seq })];
    } finally {
      following.delete(log);
    }
  }
  const ending = new AbortController();
  const positions = new Map([["chn_1", 0], ["chn_2", 0]]); // prettier-ignore
  const arrived = vi.fn<() => void>();
  createFeed({ tail: { follow }, orgId: "org", positions, signal: ending.signal, arrived });
  await vi.waitUntil(() => arrived.mock.calls.length === 2);
  expect(following).toEqual(new Set(positions.keys()));
  ending.abort();
  await vi.waitUntil(() => following.size === 0);
});
