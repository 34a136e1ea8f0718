import { and, asc, eq, inArray, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { OperationContract } from "./operation.ts";
import { catalogDefinitions, catalogOperations, catalogRevisions, catalogs } from "./schema.ts";
import type { Endpoint, ServiceDescription } from "./service-description.ts";

/** Which import of a service is in force. */
export interface InForce {
  readonly slug: string;
  /** 0 for what comes with Patchbay. */
  readonly revision: number;
}

/** Which import of the service is in force; undefined if there is none. */
export async function getInForce(tx: Tx, orgId: string, slug: string): Promise<InForce | undefined> {
  const [row] = await tx
    .select({ slug: catalogs.slug, revision: catalogs.revision })
    .from(catalogs)
    .where(and(eq(catalogs.orgId, orgId), eq(catalogs.slug, slug)));
  return row;
}

/** What is known of an import without reading its operations. */
export interface ImportSummary extends InForce {
  /** The service's name in its document. */
  readonly name: string;
  /** How many operations it has. */
  readonly operations: number;
}

const summary = {
  slug: catalogRevisions.slug,
  revision: catalogRevisions.revision,
  name: catalogRevisions.title,
  operations: catalogRevisions.operations,
};

/** Of the services, the imports that are in force. */
export async function listInForce(tx: Tx, orgId: string, slugs: readonly string[]): Promise<ImportSummary[]> {
  return tx
    .select(summary)
    .from(catalogs)
    .innerJoin(
      catalogRevisions,
      and(
        eq(catalogRevisions.orgId, orgId),
        eq(catalogRevisions.slug, catalogs.slug),
        eq(catalogRevisions.revision, catalogs.revision),
      ),
    )
    .where(and(eq(catalogs.orgId, orgId), inArray(catalogs.slug, [...slugs])));
}

/** An import that may be in force no more; undefined if it is not kept, or not ready yet. */
export async function getSummary(
  tx: Tx,
  orgId: string,
  { slug, revision }: InForce,
): Promise<ImportSummary | undefined> {
  const [row] = await tx
    .select(summary)
    .from(catalogRevisions)
    .where(and(isOf(catalogRevisions, orgId, slug, revision), catalogRevisions.ready));
  return row;
}

/** An import of a service, without its schemas; undefined if there is no such import. */
export async function readDescription(
  tx: Tx,
  orgId: string,
  { slug, revision }: InForce,
): Promise<ServiceDescription | undefined> {
  const [found] = await tx
    .select({ name: catalogRevisions.title })
    .from(catalogRevisions)
    .where(isOf(catalogRevisions, orgId, slug, revision));
  if (found === undefined) return undefined;
  const { path, method, name, operationId, scopes, deprecated } = catalogOperations;
  const rows = await tx
    .select({ path, method, name, operationId, scopes, deprecated })
    .from(catalogOperations)
    .where(isOf(catalogOperations, orgId, slug, revision))
    .orderBy(asc(path), asc(method));
  const endpoints = rows.map((row): Endpoint => ({ ...row, operationId: row.operationId ?? undefined }));
  return { name: found.name, revision, endpoints };
}

/** What an operation of an import is called with, and its definitions; undefined if there is no such operation. */
export async function readContract(
  tx: Tx,
  orgId: string,
  { slug, revision }: InForce,
  { path, method }: Pick<Endpoint, "path" | "method">,
): Promise<OperationContract | undefined> {
  const { parameters, body, inputSchema, outputSchema, definitionNames } = catalogOperations;
  const [row] = await tx
    .select({
      ...{ parameters, body, inputSchema, outputSchema, definitionNames },
      table: catalogRevisions.styleTable,
    })
    .from(catalogOperations)
    .innerJoin(catalogRevisions, isOf(catalogRevisions, orgId, slug, revision))
    .where(
      and(
        isOf(catalogOperations, orgId, slug, revision),
        eq(catalogOperations.path, path),
        eq(catalogOperations.method, method),
      ),
    );
  if (row === undefined) return undefined;
  const definitions = await tx
    .select({ name: catalogDefinitions.name, schema: sql<string>`${catalogDefinitions.schema}::text` })
    .from(catalogDefinitions)
    .where(
      and(
        isOf(catalogDefinitions, orgId, slug, revision),
        inArray(catalogDefinitions.name, row.definitionNames),
      ),
    );
  return {
    table: row.table,
    parameters: row.parameters,
    body: row.body ?? undefined,
    inputSchema: row.inputSchema ?? undefined,
    outputSchema: row.outputSchema ?? undefined,
    definitions: new Map(definitions.map(({ name, schema }) => [name, schema])),
  };
}

type OfRevision = typeof catalogRevisions | typeof catalogOperations | typeof catalogDefinitions;

function isOf(table: OfRevision, orgId: string, slug: string, revision: number) {
  return and(eq(table.orgId, orgId), eq(table.slug, slug), eq(table.revision, revision));
}
