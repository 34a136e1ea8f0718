import { and, asc, eq, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { catalogs, operationDrift } from "./schema.ts";

/** How answers of an operation agreed with its document since this was last written. */
export interface DriftNote {
  readonly slug: string;
  /** The import that the answers were compared with; 0 for what comes with Patchbay. */
  readonly revision: number;
  readonly path: string;
  readonly method: string;
  readonly checked: number;
  readonly unfit: number;
  readonly lastUnfitAt?: Date | undefined;
  /** Without any value of an answer. */
  readonly lastProblem?: string | undefined;
}

/** Adds to what is known of the operations, unless another import is in force by now. */
export async function recordDrift(tx: Tx, orgId: string, notes: Iterable<DriftNote>): Promise<void> {
  const rows = JSON.stringify([...notes]);
  await tx.execute(sql`
    with noted as (
      select * from json_to_recordset(${rows}::json) as noted (slug text, revision integer, path text, method text,
        checked bigint, unfit bigint, "lastUnfitAt" timestamptz, "lastProblem" text)
    ), catalog as materialized (
      -- Locked, so that none is counted for an import that is just being replaced.
      select slug, revision from ${catalogs} where org_id = ${orgId} and slug in (select slug from noted)
      order by slug collate "C" for share
    )
    insert into ${operationDrift} as known
      (org_id, slug, path, method, checked, unfit, last_unfit_at, last_problem)
    select ${orgId}, noted.slug, path, method, checked, unfit, "lastUnfitAt", "lastProblem"
    from noted left join catalog on catalog.slug = noted.slug
    where coalesce(catalog.revision, 0) = noted.revision
    order by noted.slug collate "C", path collate "C", method collate "C"
    on conflict (org_id, slug, path, method) do update
    set checked = known.checked + excluded.checked,
        unfit = known.unfit + excluded.unfit,
        last_unfit_at = coalesce(excluded.last_unfit_at, known.last_unfit_at),
        last_problem = coalesce(excluded.last_problem, known.last_problem)`);
}

/** Forgets how answers agreed with a document that is no more in force. */
export async function forgetDrift(tx: Tx, orgId: string, slug: string): Promise<void> {
  const ofService = and(eq(operationDrift.orgId, orgId), eq(operationDrift.slug, slug));
  // In the order in which they are written: a deletion locks them in that of its plan.
  await tx
    .select({ path: operationDrift.path })
    .from(operationDrift)
    .where(ofService)
    .orderBy(asc(operationDrift.path), asc(operationDrift.method))
    .for("update");
  await tx.delete(operationDrift).where(ofService);
}
