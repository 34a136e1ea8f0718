import { expect, test } from "vitest";
import { createReadiness } from "#src/rpc/grpc-health.ts";

test("a watch that begins before the service is ready sees it become ready, and stop", async () => {
  const readiness = createReadiness();
  const watch = readiness.watch(new AbortController().signal)[Symbol.asyncIterator]();
  expect(await watch.next()).toStrictEqual({ done: false, value: false });
  readiness.set(true);
  expect(await watch.next()).toStrictEqual({ done: false, value: true });
  readiness.set(false);
  expect(await watch.next()).toStrictEqual({ done: false, value: false });
  expect(await watch.next()).toStrictEqual({ done: true, value: undefined });
});

test("a watch ends with a service that stops before it is ready, and with one that is stopping", async () => {
  const readiness = createReadiness();
  const early = Array.fromAsync(readiness.watch(new AbortController().signal));
  readiness.set(false);
  expect(await early).not.toContain(true);
  expect(await Array.fromAsync(readiness.watch(new AbortController().signal))).toStrictEqual([false]);
});

test("it says why the service takes no calls, and a database that is back does not undo a stop", () => {
  const readiness = createReadiness();
  const problems = [readiness.problem];
  for (const change of [
    () => readiness.setDatabaseAnswers(false),
    () => readiness.set(true),
    () => readiness.setDatabaseAnswers(true),
    () => readiness.setDatabaseAnswers(false),
    () => readiness.set(false),
    () => readiness.setDatabaseAnswers(true),
  ]) {
    change();
    problems.push(readiness.problem);
  }
  const [starting, away, stopping] = ["it is starting", "its database does not answer", "it is stopping"];
  expect(problems).toStrictEqual([starting, starting, away, undefined, away, stopping, stopping]);
  expect(readiness.ready).toBe(false);
});
