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
