import type { JsonObject } from "@bufbuild/protobuf";
import type { BodyForm, Parameter } from "#src/operations/operation.ts";
import type { TestService } from "./service.ts";

/** An operation as a test imports it. */
export interface ImportedOperation {
  readonly method: string;
  readonly path: string;
  readonly operationId?: string;
  readonly parameters?: readonly Parameter[];
  readonly body?: BodyForm;
  readonly inputSchema?: JsonObject;
  readonly outputSchema?: JsonObject;
}

/** Puts a catalog in force for the service's first organisation, as an import does, but from no document. */
export async function putCatalog(
  { postgres, org: { orgId } }: Pick<TestService, "postgres" | "org">,
  slug: string,
  operations: readonly ImportedOperation[],
  definitions: JsonObject = {},
  revision = 1,
): Promise<void> {
  const at = [orgId, slug, revision];
  await postgres.asOwner(
    `insert into catalogs (org_id, slug, revision, last_revision, updated_at) values ($1, $2, 0, $3, now())
     on conflict (org_id, slug) do nothing`,
    at,
  );
  await postgres.asOwner(
    `insert into catalog_revisions (org_id, slug, revision, digest, reader, format, source, title, style_table,
       document_bytes, schema_bytes, operations, problems, problem_count, created_at)
     values ($1, $2, $3, 'sha256:00', 1, 'openapi-3.1', 'document', $2, '3.1', 1, 1, 1, '[]', 0, now())`,
    at,
  );
  for (const one of operations) {
    await postgres.asOwner(
      `insert into catalog_operations (org_id, slug, revision, path, method, operation_id, name, deprecated, scopes,
         parameters, body, input_schema, output_schema, definition_names, fingerprint, in_force, search)
       values ($1, $2, $3, $4, $5, $6, $5, false, '{}', $7, $8, $9, $10, $11, '', true, '')`,
      [
        ...at,
        ...[one.path, one.method, one.operationId ?? null, JSON.stringify(one.parameters ?? [])],
        ...[one.body, one.inputSchema, one.outputSchema].map((json) => (json ? JSON.stringify(json) : null)),
        Object.keys(definitions),
      ],
    );
  }
  for (const [name, schema] of Object.entries(definitions)) {
    await postgres.asOwner(`insert into catalog_definitions values ($1, $2, $3, $4, $5)`, [
      ...at,
      name,
      JSON.stringify(schema),
    ]);
  }
  await postgres.asOwner(
    `update catalogs set revision = $3, last_revision = $3 where org_id = $1 and slug = $2`,
    at,
  );
}
