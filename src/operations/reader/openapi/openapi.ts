import { membersOf } from "#src/json/object.ts";
import type { JsonObject } from "@bufbuild/protobuf";
import type { StyleTable } from "#src/operations/operation.ts";
import { definitionFrom } from "../definition/definition.ts";
import { proseOf } from "./document-reading.ts";
import { ImportRefused } from "#src/operations/import/errors.ts";
import type { Imported, ImportProblem } from "#src/operations/import/imported.ts";
import { parseDocument, type ParsedDocument } from "../parsing/parse.ts";
import { createProblems, type Problems } from "../problems.ts";
import { readOperations } from "./read-operations.ts";
import { swaggerPointer, swaggerService } from "./swagger.ts";

/** Reads an OpenAPI document in JSON or YAML. Throws ImportRefused for one without operations to import. */
export function importOpenApi(
  bytes: Uint8Array,
  { url }: { readonly url?: string | undefined } = {},
): Imported {
  const { document, ignored, linesOf } = parseDocument(bytes);
  const problems = createProblems();
  for (const [pointer, reason] of ignored) problems.add(pointer, reason);
  const { format, table } = formatOf(document);
  const swagger = format === "swagger-2.0" ? document : undefined;
  const found = definitionFrom(swagger === undefined ? document : swaggerService(swagger), { url });
  for (const { pointer, reason } of found.problems) {
    problems.add(swagger === undefined ? pointer : swaggerPointer(pointer), reason);
  }
  const { operations, definitions } = readOperations(document, {
    table,
    problems,
    isOwnServer: found.isOwnServer,
    swagger,
  });
  listOthers(document, problems);
  const listed = withLines(problems.list, linesOf);
  if (operations.length === 0) throw new ImportRefused(nothingLeft(listed));
  const { version: documentVersion } = membersOf(document["info"]);
  return {
    format,
    title: found.definition.name,
    documentVersion: proseOf(documentVersion, 200),
    table,
    definition: found.definition,
    operations,
    definitions,
    problems: listed,
  };
}

function withLines(problems: readonly ImportProblem[], linesOf: ParsedDocument["linesOf"]): ImportProblem[] {
  const lines = linesOf(new Set(problems.map(({ pointer }) => pointer)));
  return problems.map((problem) => {
    const line = lines.get(problem.pointer);
    const { pointer, reason } = problem;
    return { pointer: cut(pointer, 1_000), ...(line !== undefined && { line }), reason: cut(reason, 500) };
  });
}

/** Postgres takes no U+0000 in a text, and no half of a surrogate pair. */
function cut(text: string, maxLength: number): string {
  return proseOf(text, maxLength) ?? "";
}

function nothingLeft(problems: readonly ImportProblem[]): string {
  const first = problems.slice(0, 10).map(({ pointer, line, reason }) => {
    return `${pointer.slice(0, 200)}${line === undefined ? "" : ` (line ${line})`} ${reason.slice(0, 300)}`;
  });
  const more = problems.length > first.length ? [`and ${problems.length - first.length} more`] : [];
  return ["the document leaves no operation to import", ...first, ...more].join("; ");
}

function formatOf({ openapi, swagger }: JsonObject): { format: string; table: StyleTable } {
  // In YAML, 2.0 without quotes is a number.
  if (swagger === "2.0" || swagger === 2) return { format: "swagger-2.0", table: "3.0" };
  const [, version] = /^(3\.[012])(?:\.\d+|$)/.exec(proseOf(openapi, 20) ?? "") ?? [];
  if (version === undefined) {
    const given = openapi ?? swagger;
    throw new ImportRefused(
      given === undefined
        ? "the document is none of OpenAPI: it has neither openapi nor swagger at its top"
        : `OpenAPI ${proseOf(JSON.stringify(given), 50)} is not known; give a document of 2.0, 3.0, 3.1 or 3.2`,
    );
  }
  return { format: `openapi-${version}`, table: version === "3.0" ? "3.0" : "3.1" };
}

/** What a service sends by itself is no operation of it. */
function listOthers({ webhooks }: JsonObject, problems: Problems): void {
  const count = Object.keys(membersOf(webhooks)).length;
  if (count > 0)
    problems.add("/webhooks", `webhooks, which the service sends by itself, are omitted (${count})`);
}
