import { afterAll, beforeAll, expect, test } from "vitest";
import { pino } from "pino";
import { createDatabase, type Database } from "#src/db/database.ts";
import type { DefinitionRow, OperationRow, RowsPiece } from "#src/operations/import/reading.ts";
import { beginRevision, takeNumber } from "#src/operations/import/revision-store.ts"; // prettier-ignore
import type { NewRevision } from "#src/operations/import/revision.ts";
import { insertRows, readRows } from "#src/operations/import/row-store.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

let postgres: TestDatabase;
let database: Database;
beforeAll(async () => {
  postgres = await createTestDatabase();
  database = createDatabase({ url: postgres.url, log: pino({ level: "silent" }) });
  await postgres.asOwner(`insert into orgs (id, name, created_at) values ('org_rows', 'rows', now())`);
});
afterAll(async () => {
  await database.close();
  await postgres[Symbol.asyncDispose]();
});

const at = new Date("2026-01-01T00:00:00Z");

async function begin(slug: string): Promise<NewRevision> {
  const orgId = "org_rows";
  const number = await database.record(orgId, (tx) => takeNumber(tx, orgId, slug, at));
  const revision: NewRevision = {
    ...{ orgId, slug, number, digest: "sha256:00", reader: 1, format: "openapi-3.1", source: "document" },
    ...{ sourceUrl: undefined, title: "Rows", documentVersion: undefined, table: "3.1", documentBytes: 1 },
    ...{ schemaBytes: 1, operations: 1, problems: [], problemCount: 0, definition: undefined, createdAt: at },
  };
  await database.record(orgId, (tx) => beginRevision(tx, revision));
  return revision;
}

function operation(path: string, more: Partial<OperationRow> = {}): OperationRow {
  return {
    ...{
      path,
      method: "GET",
      operationId: null,
      name: path,
      description: null,
      deprecated: false,
      scopes: [],
    },
    ...{ parameters: "[]", body: null, inputSchema: null, outputSchema: null, definitionNames: [] },
    ...{ fingerprint: "f", search: "" },
    ...more,
  };
}

const piece = (of: RowsPiece["of"], rows: readonly (OperationRow | DefinitionRow)[]): RowsPiece => ({
  of,
  json: new TextEncoder().encode(JSON.stringify(rows)),
});

const store = (revision: NewRevision, ...pieces: RowsPiece[]) =>
  database.record(revision.orgId, async (tx) => {
    for (const one of pieces) await insertRows(tx, revision, one);
  });

test("large rows come back in pages that hold up no other call", async () => {
  const revision = await begin("custom:large");
  const schema = JSON.stringify({ description: "y".repeat(100_000) });
  const operations = Array.from({ length: 9 }, (_, i) => operation(`/${i}`, { inputSchema: schema }));
  const definitions = Array.from({ length: 9 }, (_, i) => ({ name: `D${i}`, schema }));
  await store(revision, piece("operations", operations), piece("definitions", definitions));
  for await (const { json } of readRows(database, revision)) expect(json.length).toBeLessThan(400_000);
  expect(await stored(revision)).toEqual({ operations, definitions });
});

async function stored(revision: NewRevision) {
  const found: Record<string, unknown[]> = { operations: [], definitions: [] };
  for await (const { of, json } of readRows(database, revision)) {
    found[of]?.push(...(JSON.parse(Buffer.from(json).toString()) as unknown[]));
  }
  return found;
}

test("rows come back as they were given, with every escape in their JSON, and in the order of their keys", async () => {
  const revision = await begin("custom:rows");
  const pattern = String.raw`{"pattern":"^[^\u0000\ud800]*$","z":1.0,"a":1e400}`;
  const operations = [
    ...Array.from({ length: 90 }, (_, i) => operation(`/many/${String(i).padStart(3, "0")}`)),
    operation("/odd/{id}'\"\\", {
      ...{ operationId: "odd", name: "Größe 🏦", description: "two\nlines", deprecated: true },
      ...{
        scopes: ["a:view", "b,{c}"],
        parameters: `[{"name":"id","in":"path"}]`,
        body: `{"contentType":"x/y"}`,
      },
      ...{ inputSchema: pattern, outputSchema: "true", definitionNames: ['a"b', "c"] },
    }),
  ];
  const definitions = Array.from({ length: 81 }, (_, i) => ({ name: `D${100 + i}`, schema: pattern }));
  await store(
    revision,
    piece("operations", operations.slice(0, 50)),
    piece("operations", operations.slice(50)),
    piece("definitions", definitions),
    piece("definitions", []),
  );
  expect(await stored(revision)).toEqual({ operations, definitions });
});
