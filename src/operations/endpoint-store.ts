import { and, eq, sql } from "#src/db/drizzle.cjs";
import { textArray } from "#src/db/columns.ts";
import type { Tx } from "#src/db/database.ts";
import type { BodyForm, Parameter } from "./operation.ts";
import { operationDrift } from "./schema.ts";

/** An operation of an import that is in force, with its schemas as they are stored. */
export interface StoredEndpoint {
  /** Of the services that were asked for, which one it is of. */
  readonly service: number;
  readonly path: string;
  readonly method: string;
  readonly name: string;
  readonly operationId: string | null;
  readonly description: string | null;
  readonly deprecated: boolean;
  readonly scopes: readonly string[];
  readonly parameters: readonly Parameter[];
  readonly body: BodyForm | null;
  readonly inputSchema: string | null;
  readonly outputSchema: string | null;
}

/** What a page of endpoints may hold at most. */
export interface EndpointLimits {
  readonly endpoints: number;
  /** Of schemas, with what they refer to. */
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
type EndpointRow = {
  [Name in keyof StoredEndpoint]: Name extends "parameters" | "body"
    ? string | Extract<StoredEndpoint[Name], null>
    : StoredEndpoint[Name];
} & { readonly definition: null; readonly candidates: string };
type DefinitionRow = { readonly service: number; readonly definition: string; readonly schema: string };

/**
 * The endpoints that the services' imports have in force, in the order of the services, paths and methods: behind the
 * place in the first of them, as many as the limits admit. All in one statement, which reads the text of no schema that
 * is not answered; how long those are is known without reading them again.
 */
export async function readEndpoints(
  tx: Tx,
  orgId: string,
  slugs: readonly string[],
  after: EndpointPlace | undefined,
  limits: EndpointLimits,
): Promise<EndpointPage> {
  const { path = "", method = "" } = after ?? {};
  const rows = await tx.execute<Row>(sql`
    with candidate as materialized (
      select asked.n, o.*
      from unnest(${textArray(slugs)}) with ordinality as asked (slug, n)
      cross join lateral (
        select slug, revision, path, method, definition_names, input_schema, output_schema
        from catalog_operations
        where org_id = ${orgId} and catalog_operations.slug = asked.slug and in_force
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
        select candidate.*, sum(own.bytes) over (order by n, path, method rows unbounded preceding) - own.bytes as before
        from candidate left join referred using (n, path, method)
        cross join lateral (
          select coalesce(referred.bytes, 0) + coalesce(octet_length(input_schema::text), 0)
            + coalesce(octet_length(output_schema::text), 0) as bytes
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
    order by service, path, method`);
  return pageOf(rows, limits.endpoints);
}

function pageOf(rows: readonly Row[], limit: number): EndpointPage {
  const endpoints: StoredEndpoint[] = [];
  const definitions = new Map<number, Map<string, string>>();
  let candidates = 0;
  for (const row of rows) {
    if (row.definition === null) {
      const { parameters, body } = row;
      endpoints.push({
        ...row,
        parameters: JSON.parse(parameters) as readonly Parameter[],
        body: body === null ? null : (JSON.parse(body) as BodyForm),
      });
      candidates = Number(row.candidates);
    } else {
      const known = definitions.get(row.service) ?? new Map<string, string>();
      definitions.set(row.service, known.set(row.definition, row.schema));
    }
  }
  // If as many were found as were looked for, there may be more.
  return { endpoints, definitions, isCut: candidates === limit || endpoints.length < candidates };
}
