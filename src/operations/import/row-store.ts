import { sql } from "#src/db/drizzle.cjs";
import type { Database, Tx } from "#src/db/database.ts";
import type { Revision } from "./revision.ts";
import type { OperationRow, RowsPiece } from "./reading.ts";
import { shippedContract, shippedDescription } from "../shipped.ts";

/** A page of them is taken in at one go, in which no other call is answered. A larger row is a page by itself. */
const rowsAtOnce = 40;
const bytesAtOnce = 256 * 1024;

/** Stores the rows of a revision that is not ready yet. Postgres takes the JSON apart: here, it would hold up calls. */
export async function insertRows(tx: Tx, revision: Revision, { of, json }: RowsPiece): Promise<void> {
  const { orgId, slug, number } = revision;
  const rows = Buffer.from(json.buffer, json.byteOffset, json.length).toString();
  if (of === "definitions") {
    await tx.execute(sql`
      insert into catalog_definitions (org_id, slug, revision, name, schema)
      select ${orgId}, ${slug}, ${number}::integer, row.name, row.schema::json
      from json_to_recordset(${rows}::json) as row (name text, schema text)`);
    return;
  }
  await tx.execute(sql`
    insert into catalog_operations (
      org_id, slug, revision, path, method, operation_id, name, description, deprecated, scopes, parameters, body,
      input_schema, output_schema, definition_names, fingerprint, in_force, search)
    select ${orgId}, ${slug}, ${number}::integer, row.path, row.method, row."operationId", row.name, row.description,
      row.deprecated, row.scopes, row.parameters::json, row.body::json, row."inputSchema"::json,
      row."outputSchema"::json, row."definitionNames", row.fingerprint, false, row.search::tsvector
    from json_to_recordset(${rows}::json) as row (
      path text, method text, "operationId" text, name text, description text, deprecated boolean, scopes text[],
      parameters text, body text, "inputSchema" text, "outputSchema" text, "definitionNames" text[],
      fingerprint text, search text)`);
}

/** The rows of a revision, in the form in which they were given. */
export async function* readRows(
  database: Pick<Database, "read">,
  revision: Revision,
): AsyncGenerator<RowsPiece> {
  const { orgId } = revision;
  for (const kind of ["operations", "definitions"] as const) {
    const next = (after: RowsPage) => database.read(orgId, (tx) => readPage[kind](tx, revision, after));
    for (let page = await next(firstPage); page.json !== null; page = await next(page)) {
      yield { of: kind, json: bytesOf(page.json) };
    }
  }
}

/** A page of rows, and the key of its last one. */
interface RowsPage extends Record<string, unknown> {
  /** Null if there are no more. */
  readonly json: string | null;
  readonly first: string;
  readonly second: string;
}

const firstPage: RowsPage = { json: null, first: "", second: "" };

const readPage = { operations: readOperations, definitions: readDefinitions };

async function readOperations(tx: Tx, { orgId, slug, number }: Revision, after: RowsPage): Promise<RowsPage> {
  const [page] = await tx.execute<RowsPage>(sql`
    select json_agg(json_build_object(
        'path', path, 'method', method, 'operationId', operation_id, 'name', name, 'description', description,
        'deprecated', deprecated, 'scopes', scopes, 'parameters', parameters::text, 'body', body::text,
        'inputSchema', input_schema::text, 'outputSchema', output_schema::text,
        'definitionNames', definition_names, 'fingerprint', fingerprint, 'search', '')
        order by path, method)::text as json,
      (array_agg(path order by path, method))[count(*)] as first,
      (array_agg(method order by path, method))[count(*)] as second
    from (
      select listed.*, sum(bytes) over (order by path, method) - bytes as before
      from (
        select * from catalog_operations
        where org_id = ${orgId} and slug = ${slug} and revision = ${number}::integer
          and (path, method) > (${after.first}, ${after.second})
        order by path, method
        limit ${rowsAtOnce}::integer) as listed
      cross join lateral (
        select octet_length(concat(parameters, body, input_schema, output_schema)) as bytes) as its) as page
    where before < ${bytesAtOnce}::integer`);
  return page ?? firstPage;
}

async function readDefinitions(
  tx: Tx,
  { orgId, slug, number }: Revision,
  after: RowsPage,
): Promise<RowsPage> {
  const [page] = await tx.execute<RowsPage>(sql`
    select json_agg(json_build_object('name', name, 'schema', schema::text)
        order by name collate "C")::text as json,
      max(name collate "C") as first, '' as second
    from (
      select listed.*, sum(bytes) over (order by name collate "C") - bytes as before
      from (
        select * from catalog_definitions
        where org_id = ${orgId} and slug = ${slug} and revision = ${number}::integer
          and name collate "C" > ${after.first}
        order by name collate "C"
        limit ${rowsAtOnce}::integer) as listed
      cross join lateral (select octet_length(schema::text) as bytes) as its) as page
    where before < ${bytesAtOnce}::integer`);
  return page ?? firstPage;
}

/** What comes with Patchbay of the service, in the form of an import; nothing for one that is not a sibling product. */
export function shippedRows(slug: string): RowsPiece[] {
  const rows: OperationRow[] = [];
  const definitions = new Map<string, string>();
  for (const endpoint of shippedDescription(slug)?.endpoints ?? []) {
    const contract = shippedContract(slug, endpoint);
    if (contract === undefined) continue;
    const { parameters, body, inputSchema = null, outputSchema = null } = contract;
    for (const [name, schema] of contract.definitions) definitions.set(name, schema);
    const { path, method, name, operationId = null, deprecated, scopes } = endpoint;
    rows.push({
      ...{
        path,
        method,
        operationId,
        name,
        description: null,
        deprecated,
        scopes,
        inputSchema,
        outputSchema,
      },
      parameters: JSON.stringify(parameters),
      body: body === undefined ? null : JSON.stringify(body),
      definitionNames: [...contract.definitions.keys()],
      ...{ fingerprint: "", search: "" },
    });
  }
  const named = [...definitions].map(([name, schema]) => ({ name, schema }));
  return [
    { of: "operations", json: bytesOf(JSON.stringify(rows)) },
    { of: "definitions", json: bytesOf(JSON.stringify(named)) },
  ];
}

/** In memory of its own, which can be handed over to a thread. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
