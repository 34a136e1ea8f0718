import { expect, test } from "vitest";
import { createSubscriptions } from "#src/events/subscriptions.ts";
import type { Caller } from "#src/platform/caller.ts";

function callerOf(orgId: string): Caller {
  return {
    ...{ orgId, environment: "live", userId: undefined, name: "reader", scopes: [], connections: undefined },
    ...{ expiresAt: undefined, rateLimitPerMinute: undefined },
    via: { kind: "api_key", id: "key", boundUserId: undefined },
  };
}

/** Streams of logs in which nothing is and nothing comes. */
function streams() {
  const subscriptions = createSubscriptions({
    eventLog: {
      bounds: async () => ({ earliest: 1, last: 0 }),
      read: async () => [],
      tail: {
        read: async () => [],
        async *follow(_, __, ___, signal) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          yield [];
        },
        forget: () => undefined,
      },
    },
    readable: {
      require: async () => undefined,
      requireStill: async () => undefined,
      select: async (_, __, events) => events,
    },
    monotonicNow: () => 0,
  });
  return async (orgId: string, logs: number) => {
    const stop = new AbortController();
    const starts = Array.from({ length: logs }, (_, i) => ({ log: `chn_${i}`, from: "latest" as const }));
    const call = { requestId: "r", authorizationLines: 1 };
    const reader = { call, caller: callerOf(orgId), starts, types: [], signal: stop.signal };
    const reports = subscriptions.open(reader)[Symbol.asyncIterator]();
    await reports.next();
    return async () => {
      stop.abort();
      await expect(reports.next()).rejects.toBe(stop.signal.reason);
    };
  };
}

test("the streams of an organisation read at most 1000 logs at once, and hold up no other organisation", async () => {
  const open = streams();
  const closings = [];
  for (let i = 0; i < 20; i += 1) closings.push(await open("acme", 50));
  await expect(open("acme", 1)).rejects.toMatchObject({ reason: "TOO_MANY_STREAMS" });
  const close = await open("globex", 50);
  await closings[0]?.();
  closings.push(await open("acme", 50));
  await expect(open("acme", 1)).rejects.toMatchObject({ reason: "TOO_MANY_STREAMS" });
  for (const one of [...closings.slice(1), close]) await one();
});
