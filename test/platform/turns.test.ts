import { expect, test } from "vitest";
import { turnsOf, WaitedTooLong } from "#src/platform/turns.ts";

/** Work that ends when the test says so. */
function work() {
  const { promise, resolve } = Promise.withResolvers<string>();
  const seen = { hasBegun: false };
  const begin = () => {
    seen.hasBegun = true;
    return promise;
  };
  return { begin, seen, ended: promise, end: () => resolve("done") };
}

test("work waits in the order in which it came, and no more runs than may", async () => {
  const inTurn = turnsOf(2);
  const works = Array.from({ length: 5 }, work);
  const all = works.map(({ begin }) => inTurn(begin));
  const begun = () => works.map(({ seen }) => seen.hasBegun);
  await Promise.resolve();
  for (const [index, { end }] of works.entries()) {
    expect(begun()).toEqual(works.map((_, at) => at < index + 2));
    end();
    expect(await all[index]).toBe("done");
    await new Promise(setImmediate);
  }
});

test("work whose turn does not come in time is not done, and keeps no other from its turn", async () => {
  const inTurn = turnsOf(1);
  const [first, late, last] = [work(), work(), work()];
  const running = inTurn(first.begin);
  const tooLate = inTurn(late.begin, { patienceMs: 1 });
  const patient = inTurn(last.begin, { patienceMs: 60_000 });
  await expect(tooLate).rejects.toBeInstanceOf(WaitedTooLong);
  first.end();
  last.end();
  expect(await Promise.all([running, patient])).toEqual(["done", "done"]);
  expect(late.seen.hasBegun).toBe(false);
});

test("work whose call has ended does not begin, even if it need not wait", async () => {
  const inTurn = turnsOf(1);
  const { begin, seen } = work();
  const ended = AbortSignal.abort(new Error("the caller went away"));
  await expect(inTurn(begin, { signal: ended })).rejects.toBe(ended.reason);
  expect(seen.hasBegun).toBe(false);
  expect(await inTurn(async () => "next")).toBe("next");
});

test("a call that ends just as its turn comes hands the turn on", async () => {
  const inTurn = turnsOf(1);
  const call = new AbortController();
  const gone = new Error("the caller went away");
  const [first, ending] = [work(), work()];
  const running = inTurn(first.begin);
  const waiting = inTurn(ending.begin, { signal: call.signal });
  await Promise.resolve();
  // Comes after the turn is handed on, and before what waits for it learns of that.
  void first.ended.then(() => call.abort(gone));
  first.end();
  await expect(waiting).rejects.toBe(gone);
  expect(ending.seen.hasBegun).toBe(false);
  await running;
  expect(await inTurn(async () => "next")).toBe("next");
});
