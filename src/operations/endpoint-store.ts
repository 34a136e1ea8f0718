import { and, eq, sql } from "#src/db/drizzle.cjs";
import { textArray } from "#src/db/columns.ts";
import type { Tx } from "#src/db/database.ts";
import { operationDrift } from "./schema.ts";
import type { OperationRow } from "./import/reading.ts";
import type { InForce } from "./store.ts";

/** An operation of an import, with its schemas as they are stored. */
export interface StoredEndpoint extends Omit<OperationRow, "definitionNames" | "fingerprint" | "search"> {
  /** Of the imports that were asked for, which one it is of. */
  readonly service: number;
}

/** What a page of endpoints may hold at most. */
export interface EndpointLimits {
  readonly endpoints: number;
  /** Of schemas, with what they refer to, and of what else may be long. */
  readonly bytes: number;
}

/** An operation's place among those of its service. */
export interface EndpointPlace {
  readonly path: string;
  readonly method: string;
}

/** Endpoints, and the definitions that their schemas refer to: of each service a map. */
export interface EndpointPage {
  readonly endpoints: readonly StoredEndpoint[];
  readonly definitions: ReadonlyMap<number, ReadonlyMap<string, string>>;
  /** Whether there are more behind the last of them. */
  readonly isCut: boolean;
}

/** How often answers of an operation did not fit their schema. */
export type OutputDrift = Pick<
  typeof operationDrift.$inferSelect,
  "checked" | "unfit" | "lastUnfitAt" | "lastProblem"
>;

/** Of the operations, what is known of their answers. */
export async function readDrift(
  tx: Tx,
  orgId: string,
  operations: readonly (EndpointPlace & { readonly slug: string })[],
): Promise<(EndpointPlace & OutputDrift & { readonly slug: string })[]> {
  const { slug, path, method, checked, unfit, lastUnfitAt, lastProblem } = operationDrift;
  const [slugs, paths, methods] = [
    operations.map((one) => one.slug),
    operations.map((one) => one.path),
    operations.map((one) => one.method),
  ];
  return tx
    .select({ slug, path, method, checked, unfit, lastUnfitAt, lastProblem })
    .from(operationDrift)
    .where(
      and(
        eq(operationDrift.orgId, orgId),
        sql`(${slug}, ${path}, ${method}) in (select * from unnest(${textArray(slugs)}, ${textArray(paths)}, ${textArray(methods)}))`,
      ),
    );
}

/** A row is an endpoint or a definition. Types and no interfaces, which drizzle does not take for rows. */
type Row = EndpointRow | DefinitionRow;
type EndpointRow = { [Name in keyof StoredEndpoint]: StoredEndpoint[Name] } & {
  readonly definition: null;
  readonly candidates: string;
};
type DefinitionRow = { readonly service: number; readonly definition: string; readonly schema: string };

/**
 * The endpoints of the imports, in the order in which these are given, and of paths and methods: behind the place in the
 * first of them, as many as the limits admit. All in one statement, which reads the text of no schema that is not
 * answered but for its length. An import does not change, so pages of one fit together whatever is in force by then.
 */
export async function readEndpoints(
  tx: Tx,
  orgId: string,
  imports: readonly InForce[],
  after: EndpointPlace | undefined,
  limits: EndpointLimits,
): Promise<EndpointPage> {
  const rows = await tx.execute<Row>(endpointsQuery(orgId, imports, after, limits));
  return pageOf(rows, limits.endpoints);
}

/** The statement by itself, whose plan a test looks at. */
export function endpointsQuery(
  orgId: string,
  imports: readonly InForce[],
  after: EndpointPlace | undefined,
  limits: EndpointLimits,
) {
  const { path = "", method = "" } = after ?? {};
  const slugs = textArray(imports.map((one) => one.slug));
  const revisions = textArray(imports.map((one) => String(one.revision)));
  return sql`
    with candidate as materialized (
      select asked.n, o.*
      from unnest(${slugs}, ${revisions}::integer[]) with ordinality as asked (slug, revision, n)
      cross join lateral (
        select slug, revision, path, method, definition_names,
          octet_length(parameters::text) + coalesce(octet_length(description), 0)
            + coalesce(octet_length(input_schema::text), 0) + coalesce(octet_length(output_schema::text), 0) as bytes
        from catalog_operations as o
        where o.org_id = ${orgId} and o.slug = asked.slug and o.revision = asked.revision
          and (path, method) > (case asked.n when 1 then ${path} else '' end, case asked.n when 1 then ${method} else '' end)
        order by path, method
        limit ${limits.endpoints}::integer
      ) as o
      order by n, path, method
      limit ${limits.endpoints}::integer
    ), reference as materialized (
      select n, slug, revision, path, method, unnest(definition_names) as name from candidate
    ), length as materialized (
      select slug, revision, name, octet_length(schema::text) as bytes
      from (select distinct slug, revision, name from reference) as named
      join catalog_definitions using (slug, revision, name)
      where org_id = ${orgId}
    ), referred as materialized (
      select n, path, method, sum(bytes) as bytes from reference join length using (slug, revision, name)
      group by n, path, method
    ), chosen as materialized (
      select * from (
        select n, slug, revision, path, method, definition_names,
          sum(own.bytes) over (order by n, path, method rows unbounded preceding) - own.bytes as before
        from candidate left join referred using (n, path, method)
        cross join lateral (
          select coalesce(referred.bytes, 0) + candidate.bytes as bytes
        ) as own
      ) as running
      where before < ${limits.bytes}::integer
    )
    select n::integer as service, o.path, o.method, o.name, operation_id as "operationId", description, deprecated,
      scopes, parameters, body, o.input_schema::text as "inputSchema", o.output_schema::text as "outputSchema",
      null as definition, null as schema, (select count(*) from candidate) as candidates
    from chosen join catalog_operations as o using (slug, revision, path, method)
    where org_id = ${orgId}
    union all
    select n::integer, null, null, null, null, null, null, null, null, null, null, null, d.name, d.schema::text, null
    from (select distinct n, slug, revision, unnest(definition_names) as name from chosen) as named
    join catalog_definitions as d using (slug, revision, name)
    where org_id = ${orgId}
    order by service, path, method`;
}

function pageOf(rows: readonly Row[], limit: number): EndpointPage {
  const endpoints: StoredEndpoint[] = [];
  const definitions = new Map<number, Map<string, string>>();
  let candidates = 0;
  for (const row of rows) {
    if (row.definition === null) {
      endpoints.push(row);
      candidates = Number(row.candidates);
    } else {
      const known = definitions.get(row.service) ?? new Map<string, string>();
      definitions.set(row.service, known.set(row.definition, row.schema));
    }
  }
  // If as many were found as were looked for, there may be more.
  return { endpoints, definitions, isCut: candidates === limit || endpoints.length < candidates };
}
