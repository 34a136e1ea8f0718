import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { inTurn } from "./askers.ts";

test("callers that ask in turn, also at once, ask another question each, and before the first everything is forgotten", async () => {
  const seen: string[] = [];
  const asks = ["a", "b", "c"].map((name) => async () => void seen.push(name));
  const ask = inTurn(asks, async () => {
    seen.push("forgotten");
    await nextTurn();
  });
  for (let i = 0; i < 4; i++) await ask();
  expect(seen).toStrictEqual(["forgotten", "a", "b", "c", "forgotten", "a"]);
  await Promise.all([ask(), ask(), ask(), ask()]);
  expect(seen.slice(6)).toStrictEqual(["b", "c", "forgotten", "b", "a"]);
});
