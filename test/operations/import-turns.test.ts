import { expect, test } from "vitest";
import { createImportTurns } from "#src/operations/import/import-turns.ts";
import { ImportBusy } from "#src/operations/import/errors.ts";

const { signal } = new AbortController();

/** Work that ends when it is told to. */
function begin() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { work: () => promise, end: resolve };
}

test("imports run one at a time, in the order in which they came", async () => {
  const inTurn = createImportTurns();
  const first = begin();
  const order: string[] = [];
  const running = inTurn("a", first.work, signal).then(() => order.push("first"));
  const waiting = inTurn("b", async () => order.push("second begins"), signal);
  await Promise.resolve();
  expect(order).toEqual([]);
  first.end();
  await Promise.all([running, waiting]);
  expect(order.toSorted()).toEqual(["first", "second begins"]);
});

test("an organisation has two under way at most, and has its turns again when they are over", async () => {
  const inTurn = createImportTurns();
  const first = begin();
  const both = [inTurn("a", first.work, signal), inTurn("a", async () => {}, signal)];
  await expect(inTurn("a", async () => {}, signal)).rejects.toBeInstanceOf(ImportBusy);
  const theirs = inTurn("b", async () => "theirs", signal);
  first.end();
  await Promise.all(both);
  expect(await theirs).toBe("theirs");
  expect(await inTurn("a", async () => "again", signal)).toBe("again");
});

test("the service has twelve under way at most; a failure and a caller that leaves give their turn back", async () => {
  const inTurn = createImportTurns();
  const first = begin();
  const leaving = new AbortController();
  const running = inTurn("org 0", first.work, signal);
  const gone = inTurn("org 1", async () => {}, leaving.signal);
  const others = Array.from({ length: 10 }, (_, i) =>
    inTurn(`org ${i + 2}`, () => Promise.reject(new Error(`no ${i}`)), signal).catch(String),
  );
  await expect(inTurn("org 12", async () => {}, signal)).rejects.toMatchObject({
    reason: "IMPORT_BUSY",
    metadata: { imports: "service" },
  });
  leaving.abort(new Error("gone"));
  await expect(gone).rejects.toThrow("gone");
  first.end();
  await running;
  expect((await Promise.all(others)).at(-1)).toBe("Error: no 9");
  expect(await inTurn("org 12", async () => "now", signal)).toBe("now");
});
