import type { Tx } from "#src/db/database.ts";
import { sql } from "#src/db/drizzle.cjs";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { KeyDestroyed, RootKeyUnavailable } from "./errors.ts";
import { createKeyRotation, unfinishedRotations, type KeyRotationParts } from "./rotation.ts";

const everyMs = 60_000;
/** Organisations that are asked for at once. */
const mostOrgs = 1_000;
/** Of each table: what depends on a row is deleted with it. */
const mostRows = 200;
/** Of what does not open, this many are named. */
const mostNames = 20;
/** What has not changed is warned of again after a day. */
const repeatMs = 24 * 60 * 60 * 1000;

interface Warned {
  readonly problem: string;
  readonly untilMs: number;
}

/** Finishes what replacing keys and shredding organisations began, whatever stopped it. */
export function createKeyUpkeep(parts: KeyRotationParts): Loop {
  const { database, log, now } = parts;
  const rotation = createKeyRotation(parts);
  /** By organisation. */
  const warned = new Map<string, Warned>();

  async function finish(orgId: string): Promise<void> {
    try {
      const { version, resealed, destroyed, remaining, unopened } = await rotation.finish(orgId);
      if (resealed > 0 || destroyed.length > 0) {
        log.info({ orgId, version, resealed, destroyed }, "secrets were sealed anew with a newer key");
      }
      if (unopened.length === 0) return;
      const names = unopened.slice(0, mostNames);
      warn(
        orgId,
        { remaining, unopened: names, count: unopened.length },
        "sealed bytes do not open, so the earlier key is kept: store these secrets again, or delete them",
      );
    } catch (error) {
      // It would fail for the next organisation just so.
      if (error instanceof RootKeyUnavailable) throw error;
      // Shredded meanwhile.
      if (error instanceof KeyDestroyed) return;
      warn(orgId, { err: error }, "sealing anew with a newer key failed; it is tried again");
    }
  }

  /** Once for each problem: it is found again by each turn, until somebody does something about it. */
  function warn(orgId: string, fields: Readonly<Record<string, unknown>>, text: string): void {
    const problem = JSON.stringify([text, String(fields["err"]), fields]);
    const last = warned.get(orgId);
    const atMs = now().getTime();
    if (last?.problem === problem && atMs < last.untilMs) return;
    warned.set(orgId, { problem, untilMs: atMs + repeatMs });
    log.warn({ orgId, ...fields }, text);
  }

  async function finishAll(signal: AbortSignal): Promise<void> {
    const unfinished = new Set<string>();
    let page: readonly string[] = [];
    do {
      const after = page.at(-1) ?? "";
      page = await database.system((tx) => unfinishedRotations(tx, after, mostOrgs));
      for (const orgId of page) {
        if (signal.aborted) return;
        unfinished.add(orgId);
        await finish(orgId);
      }
    } while (page.length === mostOrgs);
    for (const orgId of [...warned.keys()]) if (!unfinished.has(orgId)) warned.delete(orgId);
  }

  return createLoop({
    name: "the upkeep of organisations' keys",
    everyMs,
    log,
    async work(signal) {
      // First, as it needs no root key.
      while (!signal.aborted && (await database.system((tx) => eraseShredded(tx, mostRows))) > 0);
      await finishAll(signal);
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
