import { and, desc, eq, getTableColumns, lt, ne, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { catalogOperations, catalogRevisions, catalogs, type CatalogDrift } from "../schema.ts";
import { forgetDrift } from "../drift-store.ts";
import type { DerivedDefinition, ImportProblem } from "./imported.ts";
import type { KeptRevision, NewRevision, Revision } from "./revision.ts";

/** What an organisation keeps of a service. */
export interface Catalog {
  /** The import in force; 0 for what comes with Patchbay. */
  readonly inForce: number;
  /** The connection through which its own document is compared daily. */
  readonly watchedThrough: string | undefined;
  readonly nextCheckAt: Date | undefined;
  readonly checkedAt: Date | undefined;
  readonly drift: CatalogDrift | undefined;
  /** What the integration has from documents; undefined if that is nothing. */
  readonly definition: DerivedDefinition | undefined;
}

/** This many imports are kept beside the one in force. */
const mostKept = 10;

/** What is kept of the service; undefined if nothing ever was. */
export async function getCatalog(tx: Tx, orgId: string, slug: string): Promise<Catalog | undefined> {
  const [row] = await tx.select().from(catalogs).where(isOf(catalogs, { orgId, slug }));
  return row && catalogFrom(row);
}

/** As `getCatalog`, and nobody else changes it until the transaction ends. */
export async function lockCatalog(tx: Tx, orgId: string, slug: string): Promise<Catalog | undefined> {
  const [row] = await tx.select().from(catalogs).where(isOf(catalogs, { orgId, slug })).for("update");
  return row && catalogFrom(row);
}

/** Takes the next number of the service's imports: no other import has it, or will. */
export async function takeNumber(tx: Tx, orgId: string, slug: string, at: Date): Promise<number> {
  const [row] = await tx
    .insert(catalogs)
    .values({ orgId, slug, revision: 0, lastRevision: 1, updatedAt: at })
    .onConflictDoUpdate({
      target: [catalogs.orgId, catalogs.slug],
      set: { lastRevision: sql`${catalogs.lastRevision} + 1` },
    })
    .returning({ number: catalogs.lastRevision });
  if (row === undefined) throw new Error("an upsert answered no row");
  return row.number;
}

/** Stores what is known of an import whose rows follow. Nobody sees it yet. */
export async function beginRevision(tx: Tx, revision: NewRevision): Promise<void> {
  const { number, table, sourceUrl, documentVersion, definition, ...rest } = revision;
  await tx.insert(catalogRevisions).values({
    ...rest,
    revision: number,
    styleTable: table,
    sourceUrl: sourceUrl ?? null,
    documentVersion: documentVersion ?? null,
    definition: definition ?? null,
    ready: false,
  });
}

/** Says that all rows of an import are stored. */
export async function finishRevision(tx: Tx, revision: Revision): Promise<void> {
  const finished = await tx
    .update(catalogRevisions)
    .set({ ready: true })
    .where(isRevision(revision))
    .returning({ number: catalogRevisions.revision });
  if (finished.length === 0) throw new Error("an import took so long that it was taken for abandoned");
}

/**
 * Puts a ready import in force in place of the one that is, or what comes with Patchbay. Whoever reads sees all of the
 * one, or all of the other. How the service's own document differed is out of date with that.
 */
export async function putInForce(
  tx: Tx,
  revision: Revision,
  definition: DerivedDefinition | undefined,
  at: Date,
): Promise<void> {
  const { inForce } = catalogOperations;
  await tx
    .update(catalogOperations)
    .set({ inForce: false })
    .where(and(isOf(catalogOperations, revision), inForce));
  await tx
    .update(catalogOperations)
    .set({ inForce: true })
    .where(and(isOf(catalogOperations, revision), eq(catalogOperations.revision, revision.number)));
  await tx
    .update(catalogs)
    .set({ revision: revision.number, updatedAt: at, drift: null, ...(definition && { definition }) })
    .where(isOf(catalogs, revision));
  await forgetDrift(tx, revision.orgId, revision.slug);
}

/** Deletes an import whose rows are not all stored. */
export async function deleteUnfinished(tx: Tx, revision: Revision): Promise<void> {
  await tx.delete(catalogRevisions).where(and(isRevision(revision), eq(catalogRevisions.ready, false)));
}

/**
 * Deletes one of the ready imports that are too many; answers whether there was one. The one in force stays: nobody can
 * put another one in force meanwhile.
 */
export async function deleteSurplus(tx: Tx, orgId: string, slug: string): Promise<boolean> {
  const catalog = await lockCatalog(tx, orgId, slug);
  const [surplus] = await tx
    .select({ number: catalogRevisions.revision })
    .from(catalogRevisions)
    .where(
      and(
        isOf(catalogRevisions, { orgId, slug }),
        ne(catalogRevisions.revision, catalog?.inForce ?? 0),
        catalogRevisions.ready,
      ),
    )
    .orderBy(desc(catalogRevisions.revision))
    .offset(mostKept)
    .limit(1);
  if (surplus === undefined) return false;
  await tx.delete(catalogRevisions).where(isRevision({ orgId, slug, ...surplus }));
  return true;
}

/** A ready import of the service. */
export async function getRevision(tx: Tx, revision: Revision): Promise<KeptRevision | undefined> {
  const [row] = await tx
    .select(kept)
    .from(catalogRevisions)
    .where(and(isRevision(revision), catalogRevisions.ready));
  return row && fromRow(row);
}

/** The ready imports with a smaller number than this, latest first. */
export async function listRevisions(
  tx: Tx,
  { orgId, slug, number }: Revision,
  limit: number,
): Promise<KeptRevision[]> {
  const { revision, ready } = catalogRevisions;
  const rows = await tx
    .select(kept)
    .from(catalogRevisions)
    .where(and(isOf(catalogRevisions, { orgId, slug }), lt(revision, number), ready))
    .orderBy(desc(revision))
    .limit(limit);
  return rows.map(fromRow);
}

/** What was left out of a ready import, or is wrong in it. */
export async function getProblems(tx: Tx, revision: Revision): Promise<readonly ImportProblem[]> {
  const [row] = await tx
    .select({ problems: catalogRevisions.problems })
    .from(catalogRevisions)
    .where(and(isRevision(revision), catalogRevisions.ready));
  return row?.problems ?? [];
}

/**
 * Forgets the imports of a service whose integration is deleted, and keeps the numbers that are used up: what is
 * remembered of an import is remembered by its number. An import that is being written stays; it comes after this.
 */
export async function forgetCatalog(tx: Tx, orgId: string, slug: string): Promise<void> {
  if ((await lockCatalog(tx, orgId, slug)) === undefined) return;
  await tx
    .delete(catalogRevisions)
    .where(and(isOf(catalogRevisions, { orgId, slug }), catalogRevisions.ready));
  await tx
    .update(catalogs)
    .set({
      ...{ revision: 0, watchedThrough: null, nextCheckAt: null, checkedAt: null, drift: null },
      definition: null,
    })
    .where(isOf(catalogs, { orgId, slug }));
  await forgetDrift(tx, orgId, slug);
}

const { problems: _problems, ready: _ready, ...kept } = getTableColumns(catalogRevisions);

type KeptRow = Omit<typeof catalogRevisions.$inferSelect, "problems" | "ready">;

function fromRow({ revision, styleTable, ...row }: KeptRow): KeptRevision {
  return {
    ...row,
    number: revision,
    table: styleTable,
    sourceUrl: row.sourceUrl ?? undefined,
    documentVersion: row.documentVersion ?? undefined,
    definition: row.definition ?? undefined,
  };
}

function catalogFrom(row: typeof catalogs.$inferSelect): Catalog {
  return {
    inForce: row.revision,
    watchedThrough: row.watchedThrough ?? undefined,
    nextCheckAt: row.nextCheckAt ?? undefined,
    checkedAt: row.checkedAt ?? undefined,
    drift: row.drift ?? undefined,
    definition: row.definition ?? undefined,
  };
}

type OfService = typeof catalogs | typeof catalogRevisions | typeof catalogOperations;

function isOf(table: OfService, { orgId, slug }: Omit<Revision, "number">) {
  return and(eq(table.orgId, orgId), eq(table.slug, slug));
}

function isRevision(revision: Revision) {
  return and(isOf(catalogRevisions, revision), eq(catalogRevisions.revision, revision.number));
}
