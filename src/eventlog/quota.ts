import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import type { Database } from "#src/db/database.ts";
import { QuotaExhausted } from "./errors.ts";
import { storedBytes } from "./store.ts";

/** How much of their room organisations have used. */
export interface Quota {
  /** Counts bytes that are about to be stored. Throws QuotaExhausted. */
  take(orgId: string, bytes: number): Promise<void> | undefined;
}

/** How long a figure is good: what other replicas store, and what ends, is seen after this. */
const lookMs = 10_000;

interface Used {
  bytes: number;
}

/**
 * Looks at the stored sum now and then and adds to it what is taken in here, so that the way of an event asks for
 * nothing. With n replicas, an organisation gets past its limit by what n - 1 of them take in in ten seconds.
 */
export function createQuota(parts: { database: Pick<Database, "read">; limitBytes: number }): Quota {
  const { database, limitBytes } = parts;
  const known = new LRUCache<string, Used>({ ...upTo(10_000), ttl: lookMs });
  const looking = new Map<string, Promise<Used>>();

  function count(used: Used, bytes: number): void {
    if (used.bytes + bytes > limitBytes) throw new QuotaExhausted(used.bytes, limitBytes);
    used.bytes += bytes;
  }

  function look(orgId: string): Promise<Used> {
    const running = looking.get(orgId);
    if (running !== undefined) return running;
    const started = database
      .read(orgId, async (tx) => {
        const used = { bytes: await storedBytes(tx, orgId) };
        known.set(orgId, used);
        return used;
      })
      .finally(() => void looking.delete(orgId));
    looking.set(orgId, started);
    return started;
  }

  return {
    take(orgId, bytes) {
      const used = known.get(orgId);
      if (used === undefined) return look(orgId).then((looked) => count(looked, bytes));
      count(used, bytes);
      return undefined;
    },
  };
}
