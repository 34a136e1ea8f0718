import { expect, test, vi } from "vitest";
import { createLog } from "#src/cli/log.ts";
import { KeyDestroyed, RootKeyUnavailable } from "#src/crypto/errors.ts";
import { newOrgKey, type StoredKey } from "#src/crypto/org-keys.ts";
import { localRootKey, newRootKeyText, type RootKey } from "#src/crypto/root-key.ts";
import { createUnwrap } from "#src/crypto/unwrap.ts";

/** A replica whose root key is a service that may be away, and whose clock is moved by hand. */
async function openReplica(orgs: number) {
  const local = localRootKey(newRootKeyText());
  const made = Array.from({ length: orgs }, (_, n) => newOrgKey(local, `org_${n}`, new Date()));
  const keys = await Promise.all(made);
  const shredded = new Set<string>();
  const lines: string[] = [];
  let nowMs = 1_000;
  let answer: (orgId: string) => Promise<void> = async () => {};
  const asked: { readonly orgId: string; readonly atMs: number }[] = [];
  const rootKey: RootKey = {
    ...local,
    async unwrap(wrapped, context) {
      const orgId = context[1] ?? "";
      asked.push({ orgId, atMs: nowMs });
      await answer(orgId);
      return local.unwrap(wrapped, context);
    },
  };
  const { unwrap } = createUnwrap({
    rootKey,
    monotonicNow: () => nowMs,
    log: createLog("warn", { write: (line: string) => void lines.push(line) }),
    async findKey(orgId): Promise<StoredKey> {
      const { wrappedKey } = keys.find((key) => key.orgId === orgId)!;
      const isShredded = shredded.has(orgId);
      return { wrappedKey, rootKeyId: local.id, earlier: undefined, isShredded };
    },
  });
  return {
    ...{ keys, asked, shredded },
    use: (n: number) => unwrap(keys[n]!),
    useAll: () => Promise.allSettled(keys.map((key) => unwrap(key))),
    answerWith: (next: typeof answer) => void (answer = next),
    advance: (ms: number) => void (nowMs += ms),
    logged: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

const isAway = () => Promise.reject(new RootKeyUnavailable(new Error("connect ECONNREFUSED")));
const minute = 60_000;

test("a root key that is away is warned of once in ten seconds, however many organisations are called for", async () => {
  const replica = await openReplica(500);
  replica.answerWith(isAway);
  const outcomes = await replica.useAll();
  expect(outcomes.every(({ status }) => status === "rejected")).toBe(true);
  const message = expect.stringContaining("ECONNREFUSED") as string;
  expect(replica.logged()).toMatchObject([{ orgId: "org_0", err: { message } }]);
  replica.advance(10_000);
  await vi.waitUntil(
    async () => {
      await replica.useAll();
      return replica.logged().length > 1;
    },
    { timeout: 50_000 },
  );
  expect(replica.logged().slice(1)).toMatchObject([{ unsaid: 499 }]);
});

test("a key in use is asked for anew before it is forgotten: no call waits for a root key that is away meanwhile", async () => {
  const replica = await openReplica(200);
  await replica.useAll();
  expect(replica.asked).toHaveLength(200);
  replica.advance(2 * minute);
  await replica.useAll();
  expect(replica.asked).toHaveLength(200);

  const { promise: silence, reject: end } = Promise.withResolvers<void>();
  replica.answerWith(() => silence);
  replica.advance(1.6 * minute);
  const known = await replica.useAll();
  expect(known.every(({ status }) => status === "fulfilled")).toBe(true);
  expect(replica.asked).toHaveLength(400);
  // Not forgotten before its time, and not used after it.
  replica.advance(1.3 * minute);
  await replica.use(0);
  replica.advance(0.2 * minute);
  end(new RootKeyUnavailable(new Error("no answer")));
  await expect(replica.use(0)).rejects.toThrow(RootKeyUnavailable);
});

test("keys that were first used in the same moment are not asked for in the same moment again", async () => {
  const replica = await openReplica(300);
  await replica.useAll();
  const seconds = new Map<number, number>();
  for (let second = 0; second < 5 * 60; second += 1) {
    replica.advance(1_000);
    const before = replica.asked.length;
    await replica.useAll();
    seconds.set(second, replica.asked.length - before);
  }
  expect(replica.asked.length).toBeGreaterThanOrEqual(600);
  expect(Math.max(...seconds.values())).toBeLessThan(60);
});

test("a refresh that finds the key destroyed forgets it at once", async () => {
  const replica = await openReplica(1);
  await replica.use(0);
  replica.shredded.add("org_0");
  replica.advance(4 * minute);
  await replica.use(0);
  await vi.waitUntil(
    () =>
      replica.use(0).then(
        () => false,
        () => true,
      ),
    { timeout: 50_000 },
  );
  await expect(replica.use(0)).rejects.toThrow(KeyDestroyed);
});
