import { readShipped, type OpenApiDocument } from "../shipped.ts";
import { ImportRefused } from "./errors.ts";
import type { OperationRow, ReadDocument, RowsPiece } from "./reading.ts";

/** Reads simple documents in JSON where they are, until they are read in a thread of their own. */
export const readInProcess: ReadDocument = async ({ bytes, previous, wantsRows }) => {
  const document = parse(bytes);
  const { name, operations } = readShipped(document);
  const rows = operations.map((one): OperationRow => ({
    path: one.path,
    method: one.method,
    operationId: one.operationId ?? null,
    name: one.name,
    description: null,
    deprecated: one.deprecated,
    scopes: one.scopes,
    parameters: JSON.stringify(one.parameters),
    body: textOf(one.body),
    inputSchema: textOf(one.inputSchema),
    outputSchema: textOf(one.outputSchema),
    definitionNames: [],
    fingerprint: JSON.stringify(one),
    search: "",
  }));
  const before = await operationsOf(previous);
  const names = rows.map(({ method, path }) => `${method} ${path}`);
  const removed = [...before.keys()].filter((one) => !names.includes(one));
  const changed = rows.filter(
    (row) => before.has(nameOf(row)) && before.get(nameOf(row)) !== row.fingerprint,
  );
  return {
    summary: {
      ...{ format: "openapi-3.1", title: name, documentVersion: undefined, table: "3.1" },
      definition: { name, authMethods: [] },
      ...{ operations: rows.length, schemaBytes: 0, problems: [], problemCount: 0 },
      diff: {
        added: names.filter((one) => !before.has(one)),
        removed,
        changed: changed.map((row) => ({ operation: nameOf(row), breaking: false, what: ["changed"] })),
        breaking: removed.length > 0,
      },
    },
    rows: piecesOf(wantsRows ? rows : []),
  };
};

function parse(bytes: Uint8Array): OpenApiDocument {
  try {
    return JSON.parse(Buffer.from(bytes).toString()) as OpenApiDocument;
  } catch (error) {
    throw new ImportRefused("the document is not JSON", { cause: error });
  }
}

async function operationsOf(
  pieces: AsyncIterable<RowsPiece> | Iterable<RowsPiece>,
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { of, json } of pieces) {
    if (of === "definitions") continue;
    const rows = JSON.parse(Buffer.from(json).toString()) as OperationRow[];
    for (const row of rows) found.set(nameOf(row), row.fingerprint);
  }
  return found;
}

async function* piecesOf(rows: readonly OperationRow[]): AsyncGenerator<RowsPiece> {
  for (let at = 0; at < rows.length; at += 100) {
    yield { of: "operations", json: new TextEncoder().encode(JSON.stringify(rows.slice(at, at + 100))) };
  }
}

function nameOf({ method, path }: Pick<OperationRow, "method" | "path">): string {
  return `${method} ${path}`;
}

function textOf(value: object | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value);
}
