import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { boundMs, createRecent } from "#src/db/recent.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

test("an answer that nobody asks for again is not in memory any more when it is old", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  let now = 0;
  const recent = await createRecent<{ secret: string }>({
    database: { listen: async () => undefined },
    kinds: ["thing"],
    dependsOn: () => ["thing/1"],
    monotonicNow: () => now,
  });
  const remembered = () => {
    const answer = { secret: "sealed" };
    recent.remember("1", answer, recent.moment());
    return new WeakRef(answer);
  };
  const answer = remembered();
  now += boundMs;
  vi.advanceTimersByTime(boundMs);
  // A reference that was looked at is kept to the end of the job.
  await new Promise(setImmediate);
  collect();
  expect(answer.deref()).toBeUndefined();
});
