import type { JsonObject } from "@bufbuild/protobuf";
import type { ImportedOperation } from "#src/operations/import/imported.ts";
import { searchVector } from "#src/operations/search-text.ts";
import type { TestDatabase } from "./postgres.ts";

/** An operation of an import, as far as a test cares. */
export type GivenOperation = Pick<ImportedOperation, "method" | "path"> & Partial<ImportedOperation>;

/** An import that is in force, as if a document had been read. */
export interface GivenImport {
  readonly orgId: string;
  readonly slug: string;
  readonly revision?: number;
  readonly title?: string;
  readonly operations: readonly GivenOperation[];
  readonly definitions?: Readonly<Record<string, JsonObject>>;
}

/**
 * Stores an import and puts it in force, past all code of ours but that for search. An operation that names no
 * definitions refers to all of them.
 */
export async function storeImport(
  { asOwner }: Pick<TestDatabase, "asOwner">,
  given: GivenImport,
): Promise<void> {
  const { orgId, slug, revision = 1, title = slug, operations, definitions = {} } = given;
  const of = [orgId, slug, revision];
  await asOwner(
    `insert into catalogs (org_id, slug, revision, last_revision, updated_at) values ($1, $2, 0, $3::int, now())
     on conflict (org_id, slug) do nothing`,
    of,
  );
  await asOwner("update catalog_operations set in_force = false where org_id = $1 and slug = $2", [
    orgId,
    slug,
  ]);
  await asOwner(
    `insert into catalog_revisions (org_id, slug, revision, digest, reader, format, source, title, style_table,
       document_bytes, schema_bytes, operations, problems, problem_count, created_at)
     values ($1, $2, $3::int, 'sha256:' || $3, 1, 'openapi-3.1', 'document', $4, '3.1', 0, 0, $5::int, '[]', 0, now())`,
    [...of, title, operations.length],
  );
  await asOwner(
    `insert into catalog_definitions (org_id, slug, revision, name, schema)
     select $1, $2, $3::int, key, value from json_each($4::json)`,
    [...of, JSON.stringify(definitions)],
  );
  const rows = operations.map((one) => rowOf(orgId, one, Object.keys(definitions)));
  for (let at = 0; at < rows.length; at += 5_000) {
    await asOwner(
      `insert into catalog_operations (org_id, slug, revision, path, method, operation_id, name, description,
         deprecated, scopes, parameters, body, input_schema, output_schema, definition_names, fingerprint, in_force, search)
       select $1, $2, $3::int, path, method, "operationId", name, description, deprecated, scopes, parameters, body,
         "inputSchema"::json, "outputSchema"::json, "definitionNames", fingerprint, true, search::tsvector
       from json_to_recordset($4::json) as row (path text, method text, "operationId" text, name text,
         description text, deprecated boolean, scopes text[], parameters json, body json, "inputSchema" text,
         "outputSchema" text, "definitionNames" text[], fingerprint text, search text)`,
      [...of, JSON.stringify(rows.slice(at, at + 5_000))],
    );
  }
  // Last, since that announces it: who hears of it looks at once for what it has.
  await asOwner(
    "update catalogs set revision = $3::int, last_revision = $3::int where org_id = $1 and slug = $2",
    of,
  );
}

function rowOf(orgId: string, given: GivenOperation, definitionNames: readonly string[]) {
  const operation: ImportedOperation = {
    name: given.operationId ?? `${given.method} ${given.path}`,
    operationId: undefined,
    description: undefined,
    deprecated: false,
    scopes: [],
    parameters: [],
    body: given.inputSchema && { contentType: "application/json", required: true },
    inputSchema: undefined,
    outputSchema: undefined,
    definitionNames,
    fingerprint: "",
    ...given,
  };
  const text = (schema: JsonObject | undefined) => schema && JSON.stringify(schema);
  return {
    ...operation,
    // As texts: a JSON text in which others lie may not name every character that they do.
    inputSchema: text(operation.inputSchema),
    outputSchema: text(operation.outputSchema),
    search: searchVector(orgId, operation),
  };
}
