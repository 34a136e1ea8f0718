import { expect, test } from "vitest";
import { onceFor } from "#src/platform/once-for.ts";

test("work is done once for each name, also for those that ask while it is done", async () => {
  const asked: string[] = [];
  const shout = onceFor(async ({ name }: { name: string }) => {
    asked.push(name);
    return name.toUpperCase();
  });
  expect(await Promise.all(["a", "b", "a"].map((name) => shout({ name })))).toEqual(["A", "B", "A"]);
  expect(await shout({ name: "a" })).toBe("A");
  expect(asked).toEqual(["a", "b"]);
});

test("work that failed is done again for the next that asks", async () => {
  let tries = 0;
  const work = onceFor(async () => {
    tries += 1;
    if (tries === 1) throw new Error("no memory");
    return tries;
  });
  await expect(work({ name: "a" })).rejects.toThrow("no memory");
  expect(await work({ name: "a" })).toBe(2);
});
