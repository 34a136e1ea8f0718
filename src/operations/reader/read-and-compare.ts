import { diffOperations } from "../diff.ts";
import { importGrpc } from "./grpc/grpc.ts";
import { importOpenApi } from "./openapi/openapi.ts";
import {
  maxKeptProblems,
  type DefinitionRow,
  type ImportSummary,
  type OperationRow,
  type RowsPiece,
} from "../import/reading.ts";
import type { DocumentToRead } from "./reader-messages.ts";
import { rowsOf, schemaBytesOf } from "./rows.ts";

/** All that the thread does: reads the document, and compares it with what is there. Throws ImportRefused. */
export function readAndCompare(
  { orgId, bytes, source, url }: DocumentToRead,
  previous: readonly RowsPiece[],
): { readonly summary: ImportSummary; readonly rows: Iterator<RowsPiece> } {
  const imported = source === "grpc" ? importGrpc(bytes) : importOpenApi(bytes, { url });
  const { format, title, documentVersion, table, definition, operations, problems } = imported;
  const summary: ImportSummary = {
    ...{ format, title, documentVersion, table, definition },
    operations: operations.length,
    schemaBytes: schemaBytesOf(imported),
    problems: problems.slice(0, maxKeptProblems),
    problemCount: problems.length,
    diff: diffOperations(storedIn(previous), imported),
  };
  return { summary, rows: rowsOf(orgId, imported) };
}

function storedIn(pieces: readonly RowsPiece[]) {
  const definitions = rowsIn<DefinitionRow>(pieces, "definitions");
  return {
    operations: rowsIn<OperationRow>(pieces, "operations"),
    definitions: new Map(definitions.map(({ name, schema }) => [name, schema])),
  };
}

function rowsIn<Row>(pieces: readonly RowsPiece[], of: RowsPiece["of"]): Row[] {
  const decoder = new TextDecoder();
  return pieces.flatMap((piece) =>
    piece.of === of ? (JSON.parse(decoder.decode(piece.json)) as Row[]) : [],
  );
}
