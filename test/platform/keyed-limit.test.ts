import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createKeyedLimit, type Places } from "#src/platform/keyed-limit.ts";

const at = (share: string, target: string, most = 10, mostOfTarget = 1): Places => ({
  share: { key: share, most },
  target: { key: target, most: mostOfTarget },
});

/** Tasks that end when the test says so. */
function createTasks(total: number) {
  const limit = createKeyedLimit(total);
  const running: { places: Places; end: () => void }[] = [];
  const ended: Promise<void>[] = [];
  return {
    running,
    add(places: Places): void {
      const { promise, resolve } = Promise.withResolvers<void>();
      ended.push(
        limit(places, async () => {
          running.push({ places, end: resolve });
          await promise;
        }),
      );
    },
    /** Ends one of those that run, and lets what may start then start. */
    async end(index: number): Promise<void> {
      running.splice(index % running.length, 1)[0]?.end();
      await new Promise(setImmediate);
    },
    count: (share: string) => running.filter(({ places }) => places.share.key === share).length,
    all: () => Promise.all(ended),
  };
}

describe("a keyed limit", () => {
  test("lets other targets pass one that is at its limit", async () => {
    const limit = createKeyedLimit(10);
    const never = Promise.withResolvers<void>();
    const slow = limit(at("acme", "slow"), () => never.promise);
    const waiting = limit(at("acme", "slow"), () => Promise.resolve("late"));
    expect(await limit(at("acme", "quick"), () => Promise.resolve("now"))).toBe("now");
    never.resolve();
    await slow;
    expect(await waiting).toBe("late");
  });

  test("gives its place back when a task fails", async () => {
    const limit = createKeyedLimit(1);
    await expect(limit(at("acme", "a"), () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await limit(at("acme", "a"), () => Promise.resolve(1))).toBe(1);
  });

  test("gives the next turn to the share of which the fewest run, though others have waited longer", async () => {
    const tasks = createTasks(6);
    for (let n = 0; n < 40; n++) for (const share of ["slow one", "slow two"]) tasks.add(at(share, `${n}`));
    await new Promise(setImmediate);
    for (let n = 0; n < 3; n++) tasks.add(at("quick", `${n}`));
    await tasks.end(0);
    expect(tasks.count("quick")).toBe(1);
    await tasks.end(0);
    expect(tasks.count("quick")).toBe(2);
  });

  test("runs each task once, and never more of a share, of a target or in all than may be", async () => {
    const task = fc.record({ share: fc.constantFrom("a", "b", "c"), target: fc.constantFrom("x", "y") });
    const step = fc.oneof(task, fc.nat());
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const tasks = createTasks(5);
        let started = 0;
        const check = () => {
          expect(tasks.running.length).toBeLessThanOrEqual(5);
          for (const share of ["a", "b", "c"]) {
            expect(tasks.count(share)).toBeLessThanOrEqual(3);
            for (const target of ["x", "y"]) {
              const there = tasks.running.filter(
                ({ places }) => places.share.key === share && places.target.key === target,
              );
              expect(there.length).toBeLessThanOrEqual(2);
            }
          }
        };
        for (const one of steps) {
          if (typeof one !== "number") {
            tasks.add(at(one.share, one.target, 3, 2));
            started++;
          } else if (tasks.running.length > 0) await tasks.end(one);
          await new Promise(setImmediate);
          check();
        }
        let ended = 0;
        for (; tasks.running.length > 0 && ended <= started; ended++) {
          await tasks.end(0);
          check();
        }
        await tasks.all();
      }),
      { numRuns: 40 },
    );
  });
});
