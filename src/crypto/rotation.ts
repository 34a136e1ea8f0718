import type { KeyObject } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { append } from "#src/audit/append.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import { sql } from "#src/db/drizzle.cjs";
import { DatabaseUnavailable } from "#src/db/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { KeyDestroyed } from "./errors.ts";
import { findStoredKey, holdCurrentVersion, insertOrgKey, livingKeys, newOrgKey } from "./org-keys.ts";
import type { RootKeyParts } from "./named-root-key.ts";
import { createReseal, type Resealed } from "./reseal.ts";
import type { SealedColumn } from "./sealed-column.ts";
import { createUnwrap } from "./unwrap.ts";

/** Replaces the keys of organisations while they are in use. */
export interface KeyRotation {
  /**
   * Gives the organisation a new key, which all is sealed with from then on; unless an earlier rotation is not over: then
   * that one is to be finished first. Throws KeyDestroyed.
   */
  start(orgId: string): Promise<{ readonly version: number; readonly isNew: boolean }>;
  /**
   * Seals everything anew that an earlier key sealed, and destroys the earlier ones. Whatever stops it, and however many
   * processes do it at once: it goes on from what is stored. Throws KeyDestroyed.
   */
  finish(orgId: string): Promise<FinishedRotation>;
}

/** What `finish` did. */
export interface FinishedRotation extends Resealed {
  readonly version: number;
  readonly destroyed: readonly number[];
  /** Earlier keys that something is still sealed with. */
  readonly remaining: readonly number[];
}

/** Whoever seals with the earlier key holds it for as long as a transaction takes at most. */
const attempts = 30;
const pauseMs = 250;

/** What replacing keys needs. */
export interface KeyRotationParts extends RootKeyParts {
  readonly database: Database;
  readonly sealedColumns: readonly SealedColumn[];
  readonly log: Log;
  readonly now: () => Date;
}

export function createKeyRotation(parts: KeyRotationParts): KeyRotation {
  const { database, rootKey, now } = parts;
  const { unwrap, forget } = createUnwrap({
    ...parts,
    findKey: (orgId, version) => database.read(orgId, (tx) => findStoredKey(tx, orgId, version)),
  });
  const reseal = createReseal(parts);

  const living = (orgId: string) => database.read(orgId, (tx) => livingKeys(tx, orgId));

  async function start(orgId: string) {
    const [current, ...replaced] = await living(orgId);
    if (current === undefined) throw new KeyDestroyed();
    if (replaced.length > 0) return { version: current.version, isNew: false };
    const next = await newOrgKey(rootKey, orgId, now(), current.version + 1);
    const isNew = await database.change(orgId, async (tx) => {
      // Held, so that shredding destroys the new one with it, or comes before it.
      if ((await holdCurrentVersion(tx)) !== current.version) return unchanged(false);
      if (!(await insertOrgKey(tx, next))) return unchanged(false);
      const details = { version: next.version, rootKeyId: rootKey.id };
      await append(tx, "service", { action: "organization.rotate_key", target: orgId, details });
      return true;
    });
    return { version: next.version, isNew };
  }

  async function finish(orgId: string): Promise<FinishedRotation> {
    let resealed = 0;
    const destroyed: number[] = [];
    for (let attempt = 1; ; attempt++) {
      const [current, ...replaced] = await living(orgId);
      if (current === undefined) throw new KeyDestroyed();
      const { version } = current;
      const remaining = replaced.map((one) => one.version);
      if (remaining.length === 0) return { version, resealed, destroyed, remaining, unopened: [] };
      const keys = new Map<number, KeyObject>();
      for (const one of [current, ...replaced]) keys.set(one.version, await unwrap(one));
      const done = await reseal(orgId, version, keys);
      resealed += done.resealed;
      const gone = await destroyReplaced(orgId);
      if (gone !== "held") destroyed.push(...gone);
      // Read again: another process may have destroyed them.
      const left = (await living(orgId)).slice(1).map((one) => one.version);
      // Nothing that could be sealed anew, and yet it is used: waiting would not help.
      const isStuck = gone !== "held" && done.resealed === 0;
      if (left.length === 0 || isStuck || done.unopened.length > 0 || attempt === attempts) {
        return { version, resealed, destroyed, remaining: left, unopened: done.unopened };
      }
      await sleep(pauseMs);
    }
  }

  async function destroyReplaced(orgId: string): Promise<readonly number[] | "held"> {
    try {
      return await database.change(orgId, async (tx) => {
        const versions = await destroyUnused(tx);
        if (versions.length === 0) return unchanged(versions);
        await append(tx, "service", {
          action: "organization.destroy_key",
          target: orgId,
          details: { versions },
        });
        return versions;
      });
    } catch (error) {
      // Something still seals with one of them.
      if (error instanceof DatabaseUnavailable) return "held";
      throw error;
    }
  }

  return {
    start,
    async finish(orgId) {
      try {
        return await finish(orgId);
      } finally {
        forget();
      }
    },
  };
}

async function destroyUnused(tx: Tx): Promise<number[]> {
  const rows = await tx.execute<{ version: number }>(sql`select destroy_replaced_org_keys() as version`);
  return rows.map(({ version }) => version).sort((a, b) => a - b);
}

/** Organisations whose rotation is not over, in the order of their ids. */
export async function unfinishedRotations(tx: Tx, after: string, most: number): Promise<string[]> {
  const rows = await tx.execute<{ org_id: string }>(
    sql`select orgs_with_replaced_keys(${after}, ${most}::integer) as org_id`,
  );
  return rows.map((row) => row.org_id);
}
