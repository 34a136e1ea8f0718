import type { Database, Tx } from "#src/db/database.ts";
import { sql } from "#src/db/drizzle.cjs";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import type { RootKeyParts } from "./named-root-key.ts";
import { createKeyRotation, unfinishedRotations } from "./rotation.ts";
import type { SealedColumn } from "./sealed-column.ts";

const everyMs = 60_000;
/** Organisations in one turn. */
const mostOrgs = 1_000;
/** Of each table: what depends on a row is deleted with it. */
const mostRows = 200;

/** Finishes what replacing keys and shredding organisations began, whatever stopped it. */
export function createKeyUpkeep(
  parts: RootKeyParts & {
    readonly database: Database;
    readonly sealedColumns: readonly SealedColumn[];
    readonly log: Log;
    readonly now: () => Date;
  },
): Loop {
  const { database, log } = parts;
  const rotation = createKeyRotation(parts);

  async function finish(orgId: string): Promise<void> {
    try {
      const { version, resealed, destroyed, remaining, unopened } = await rotation.finish(orgId);
      log.info({ orgId, version, resealed, destroyed }, "secrets were sealed anew with a newer key");
      if (unopened.length === 0) return;
      log.warn(
        { orgId, remaining, unopened: unopened.slice(0, 20) },
        "sealed bytes do not open, so the earlier key is kept: store these secrets again, or delete them",
      );
    } catch (error) {
      log.warn({ err: error, orgId }, "sealing anew with a newer key failed; it is tried again");
    }
  }

  return createLoop({
    name: "the upkeep of organisations' keys",
    everyMs,
    log,
    async work(signal) {
      for (const orgId of await database.system((tx) => unfinishedRotations(tx, mostOrgs))) {
        if (signal.aborted) return;
        await finish(orgId);
      }
      while (!signal.aborted && (await database.system((tx) => eraseShredded(tx, mostRows))) > 0);
    },
  });
}

/** Deletes rows of shredded organisations that nothing opens any more, and answers how many. */
async function eraseShredded(tx: Tx, most: number): Promise<number> {
  const [row] = await tx.execute<{ erased: number }>(
    sql`select erase_shredded(${most}::integer)::float8 as erased`,
  );
  return row?.erased ?? 0;
}
