import { searchVector } from "../search-text.ts";
import type { Imported, ImportedOperation } from "../import/imported.ts";
import type { DefinitionRow, OperationRow, RowsPiece } from "../import/reading.ts";

/** Sent in one piece, so that whoever takes it in is not held up for long. */
const pieceBytes = 256 * 1024;

/** An operation as it is stored for the organisation. */
function operationRow(orgId: string, operation: ImportedOperation): OperationRow {
  const { path, method, name, deprecated, scopes, parameters, definitionNames, fingerprint } = operation;
  return {
    path,
    method,
    operationId: operation.operationId ?? null,
    name,
    description: operation.description ?? null,
    deprecated,
    scopes,
    parameters: JSON.stringify(parameters),
    body: jsonOf(operation.body),
    inputSchema: jsonOf(operation.inputSchema),
    outputSchema: jsonOf(operation.outputSchema),
    definitionNames,
    fingerprint,
    search: searchVector(orgId, operation),
  };
}

/** What is stored of a document: its operations, then its definitions. */
export function* rowsOf(orgId: string, { operations, definitions }: Imported): Generator<RowsPiece> {
  yield* inPieces("operations", operations, (one): OperationRow => operationRow(orgId, one));
  yield* inPieces("definitions", definitions, ([name, schema]): DefinitionRow => ({
    name,
    schema: JSON.stringify(schema),
  }));
}

/** How many bytes of schemas are stored. */
export function schemaBytesOf({ operations, definitions }: Imported): number {
  const own = operations.flatMap(({ inputSchema, outputSchema, parameters }) => [
    inputSchema,
    outputSchema,
    parameters.length > 0 ? parameters : undefined,
  ]);
  return [...own, ...definitions.values()].reduce<number>(
    (sum, schema) => sum + (schema === undefined ? 0 : Buffer.byteLength(JSON.stringify(schema))),
    0,
  );
}

function* inPieces<T>(
  of: RowsPiece["of"],
  items: Iterable<T>,
  rowFrom: (item: T) => object,
): Generator<RowsPiece> {
  let texts: string[] = [];
  let bytes = 0;
  const piece = (): RowsPiece => ({ of, json: new TextEncoder().encode(`[${texts.join()}]`) });
  for (const item of items) {
    const text = JSON.stringify(rowFrom(item));
    if (texts.length > 0 && bytes + text.length > pieceBytes) {
      yield piece();
      [texts, bytes] = [[], 0];
    }
    texts.push(text);
    bytes += text.length;
  }
  if (texts.length > 0) yield piece();
}

function jsonOf(value: object | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value);
}
