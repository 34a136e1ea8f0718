import { hasEnded } from "#src/api-keys/api-key.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import { recordFirstUse } from "#src/api-keys/store.ts";
import type { Database } from "#src/db/database.ts";
import type { UsageLog } from "#src/platform/usage-log.ts";
import { InvalidBearer } from "./errors.ts";

/** Notes that keys were let in. */
export interface KeyUse {
  /**
   * Done at once, except for the first use of a secret: that is written before the call goes on, since a secret
   * that was never used may be replaced as a lost one, at any replica. Fails if it cannot be written, or if the
   * secret was replaced a moment before.
   */
  note(key: PresentedKey, at: Date): Promise<void> | undefined;
}

export function createKeyUse(parts: { database: Database; usage: UsageLog; now: () => Date }): KeyUse {
  const { database, usage, now } = parts;
  /** Kept for as long as the key is remembered as never used. */
  const firstUses = new WeakMap<PresentedKey, Promise<void>>();

  async function recordFirst(key: PresentedKey, at: Date): Promise<void> {
    await database.record(key.orgId, async (tx) => {
      const { validUntil } = await recordFirstUse(tx, key, at);
      // A replacement held its lock until now. Thrown inside the transaction, so that a refused use is not recorded.
      if (hasEnded(validUntil, now())) throw new InvalidBearer("retired");
    });
  }

  async function noteOnceUsed(begun: Promise<void>, key: PresentedKey, at: Date): Promise<void> {
    await begun;
    usage.note(key.orgId, key.secretHash, at);
  }

  async function begin(key: PresentedKey, at: Date): Promise<void> {
    const writing = recordFirst(key, at);
    firstUses.set(key, writing);
    try {
      await writing;
    } catch (error) {
      firstUses.delete(key);
      throw error;
    }
  }

  return {
    note(key, at) {
      if (key.wasUsed) {
        usage.note(key.orgId, key.secretHash, at);
        return undefined;
      }
      const begun = firstUses.get(key);
      return begun === undefined ? begin(key, at) : noteOnceUsed(begun, key, at);
    },
  };
}
