import { expect, test, vi } from "vitest";
import { RootKeyRefused } from "#src/crypto/errors.ts";
import { remoteRootKey, type KeyService } from "#src/crypto/root-keys/remote.ts";
import { context, newKey } from "./support.ts";

test("a start with many organisations asks for a few keys at a time, and gets them all", async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  let running = 0;
  let most = 0;
  const service: KeyService = {
    id: "played",
    wrap: async (key) => key,
    async unwrap(wrapped) {
      most = Math.max(most, ++running);
      await released;
      running--;
      return wrapped;
    },
  };
  const rootKey = remoteRootKey(service, { tryMs: 60_000, pauseMs: 1 });
  const keys = Array.from({ length: 200 }, newKey);
  const all = Promise.all(keys.map((key) => rootKey.unwrap(key, context)));
  await vi.waitUntil(() => running === 32, { timeout: 50_000 });
  release();
  expect(await all).toStrictEqual(keys);
  expect(most).toBe(32);
});

test("a call that was given up is told so, and what it answers later is of no account", async () => {
  const signals: AbortSignal[] = [];
  const service: KeyService = {
    id: "played",
    wrap: async (key) => key,
    async unwrap(_wrapped, _context, signal) {
      signals.push(signal);
      await new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(new RootKeyRefused("late"))),
      );
      throw new Error("not reached");
    },
  };
  const rootKey = remoteRootKey(service, { tryMs: 20, pauseMs: 1 });
  await expect(rootKey.unwrap(newKey(), context)).rejects.toThrow(/cannot be reached/);
  expect(signals.map(({ aborted }) => aborted)).toStrictEqual([true, true, true]);
});
