import { sql } from "#src/db/drizzle.cjs";
import { textArray } from "#src/db/columns.ts";
import type { Tx } from "#src/db/database.ts";
import type { EndpointPlace } from "./endpoint-store.ts";
import type { Endpoint } from "./service-description.ts";
import { searchQuery, searchVector, spelledQuery, type Searched, type Sought } from "./search-text.ts";

/** An operation that comes with Patchbay, among those that are searched. */
export interface ShippedOperation extends Searched, Endpoint {
  readonly slug: string;
}

/** Where a page of found operations ended. */
export interface FoundPlace extends EndpointPlace {
  readonly slug: string;
  readonly rank: number;
}

/** An operation that was found. */
export interface FoundOperation extends Endpoint {
  readonly slug: string;
  readonly rank: number;
  /** The beginning. */
  readonly description: string | undefined;
}

/** What is looked for, and where. */
export interface OperationSearch {
  /** The services whose imports are searched. */
  readonly services: readonly string[];
  readonly shipped: readonly ShippedOperation[];
  readonly sought: Sought;
  readonly after: FoundPlace | undefined;
  readonly limit: number;
}

/** Null of an operation that comes with Patchbay is what its table would say. */
type Row = {
  readonly slug: string;
  readonly path: string;
  readonly method: string;
  readonly rank: number;
  readonly operationId: string | null;
  readonly description: string | null;
} & (
  | { readonly name: string; readonly deprecated: boolean; readonly scopes: readonly string[] }
  | { readonly name: null }
);

/** The operations that match, best first, and in the order of service, path and method if nothing is looked for. */
export async function searchOperations(
  tx: Tx,
  orgId: string,
  search: OperationSearch,
): Promise<FoundOperation[]> {
  const sought = searchQuery(orgId, search.sought);
  const found = sought === "" ? everything(orgId, search) : matching(orgId, search, sought);
  const rows = await tx.execute<Row>(sql`
    select found.slug, found.path, found.method, found.rank, name, operation_id as "operationId",
      left(description, ${maxDescription}::integer) as description, deprecated, scopes
    from (${found}) as found
    left join catalog_operations as o
      on o.org_id = ${orgId} and o.slug = found.slug and o.path = found.path and o.method = found.method and o.in_force
    order by found.rank desc, found.slug collate "C", found.path collate "C", found.method collate "C"`);
  return rows.flatMap((row) => {
    if (row.name !== null) {
      return [
        { ...row, operationId: row.operationId ?? undefined, description: row.description ?? undefined },
      ];
    }
    const known = search.shipped.find(
      ({ slug, path, method }) => slug === row.slug && path === row.path && method === row.method,
    );
    return known === undefined
      ? []
      : [{ ...known, rank: row.rank, description: known.description?.slice(0, maxDescription) }];
  });
}

/** Of a description, as many characters are shown. */
const maxDescription = 500;

function matching(
  orgId: string,
  { services, shipped, sought: { text = "" }, after, limit }: OperationSearch,
  sought: string,
) {
  const words = searchQuery(orgId, { text }) || null;
  const spelled = spelledQuery(orgId, text) || null;
  const { slugs, paths, methods } = columnsOf(shipped);
  return sql`
    select * from search_operations(
      ${textArray(services)}, ${sought}::tsquery, ${words}::tsquery, ${spelled}::tsquery,
      ${textArray(slugs)}, ${textArray(paths)}, ${textArray(methods)}, ${textArray(shipped.map((one) => searchVector(orgId, one)))},
      ${after?.rank ?? null}::real, ${after?.slug ?? null}, ${after?.path ?? null}, ${after?.method ?? null},
      ${limit}::integer)`;
}

function everything(orgId: string, { services, shipped, after, limit }: OperationSearch) {
  const { slugs, paths, methods } = columnsOf(shipped);
  const { slug = "", path = "", method = "" } = after ?? {};
  const isBehind = sql`(slug, path, method) > (${slug} collate "C", ${path} collate "C", ${method} collate "C")`;
  return sql`
    (
      select slug, path, method, 0::real as rank from catalog_operations
      where org_id = ${orgId} and in_force and slug = any (${textArray(services)}) and ${isBehind}
      order by slug, path, method limit ${limit}::integer
    )
    union all
    select slug collate "C", path collate "C", method collate "C", 0::real
    from unnest(${textArray(slugs)}, ${textArray(paths)}, ${textArray(methods)}) as shipped (slug, path, method)
    where ${isBehind}
    order by slug, path, method limit ${limit}::integer`;
}

function columnsOf(shipped: readonly ShippedOperation[]) {
  return {
    slugs: shipped.map(({ slug }) => slug),
    paths: shipped.map(({ path }) => path),
    methods: shipped.map(({ method }) => method),
  };
}
