import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { pino } from "pino";
import { createKeyLookup, type KeyLookup } from "#src/verification/key-lookup.ts";
import { detailsOf, newApiKey } from "#src/api-keys/new-api-key.ts";
import { revoke } from "#src/api-keys/api-key.ts";
import { insertKey, saveKey } from "#src/api-keys/store.ts";
import { append } from "#src/audit/append.ts";
import { foundOrganization } from "#src/cli/found-organization.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { createDatabase } from "#src/db/database.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";

const revocations = 1_000;
const log = pino({ level: "silent" });

/** How long another replica goes on letting in a key that it remembers, after its revocation was answered. */
export async function run(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const { url } = postgres;
  await migrate({ url, log });
  const [here, there] = [createDatabase({ url, log }), createDatabase({ url, log })];
  try {
    const environment = "sandbox";
    const rootKey = localRootKey(newRootKeyText());
    const now = () => new Date();
    const { admin } = await foundOrganization({ database: here, rootKey }, environment, "bench");
    const { orgId } = admin;
    const pepper = await loadPepper(here, rootKey, now);
    const monotonicNow = () => performance.now();
    const replica = { pepper, environment, legacyPrefixes: [], monotonicNow } as const;
    const other = await createKeyLookup({ ...replica, database: there });

    const delays: number[] = [];
    for (let i = 0; i < revocations; i++) {
      const { key, secret } = newApiKey(
        { orgId, name: "job", environment, scopes: ["a:view"] },
        pepper,
        now(),
      );
      await here.change(orgId, async (tx) => {
        await insertKey(tx, key);
        await append(tx, "service", { action: "api_key.create", target: key.id, details: detailsOf(key) });
      });
      if ((await other.find(secret)) === undefined)
        throw new Error("a new key is unknown to the other replica");
      await here.change(orgId, async (tx) => {
        await saveKey(tx, revoke(key, now()));
        await append(tx, "service", { action: "api_key.revoke", target: key.id, details: {} });
      });
      delays.push(await untilRevoked(other, secret));
    }
    print(delays.toSorted((a, b) => a - b));
  } finally {
    await Promise.all([here.close(), there.close()]);
    await postgres.stop();
    await rm(dataDir, { recursive: true });
  }
}

async function untilRevoked(keys: KeyLookup, secret: string): Promise<number> {
  const answeredAt = performance.now();
  while ((await keys.find(secret))?.revokedAt === undefined) await nextTurn();
  return performance.now() - answeredAt;
}

function print(sorted: readonly number[]): void {
  const at = (share: number) => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(1);
  console.log(`${sorted.length} revocations: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`);
}

if (import.meta.main) await run();
