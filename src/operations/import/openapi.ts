import type { JsonObject } from "@bufbuild/protobuf";
import type { StyleTable } from "../operation.ts";
import { withoutCircles } from "./circles.ts";
import { complete } from "./complete.ts";
import { createDefinitions } from "./definitions.ts";
import { membersOf, textOf } from "./document-reading.ts";
import { ImportRefused } from "./errors.ts";
import type { Imported, ImportProblem } from "./imported.ts";
import { parseDocument } from "./parse.ts";
import { createProblems } from "./problems.ts";
import { readPaths } from "./read-paths.ts";
import { createReferences } from "./references.ts";

/** Reads an OpenAPI document in JSON or YAML. Throws ImportRefused for one without operations to import. */
export function importOpenApi(bytes: Uint8Array): Imported {
  const { document, ignored, linesOf } = parseDocument(bytes);
  const { version, table } = versionOf(document);
  const problems = createProblems();
  for (const [pointer, reason] of ignored) problems.add(pointer, reason);
  const references = createReferences(document);
  const definitions = createDefinitions({ table, references, problems });
  const read = readPaths(document, { table, references, definitions, problems });
  listOthers(document, problems);
  const { operations, definitions: kept } = complete(
    read,
    withoutCircles(definitions.settle(), problems),
    problems,
  );
  const { title, version: documentVersion } = membersOf(document["info"]);
  const name = textOf(title, 200);
  if (name === undefined) problems.add("/info", "has no title");
  const lines = linesOf(new Set(problems.list.map(({ pointer }) => pointer)));
  const listed = problems.list.map((problem) => withLine(problem, lines.get(problem.pointer)));
  if (operations.length === 0) throw new ImportRefused(nothingLeft(listed));
  return {
    format: `openapi-${version}`,
    title: name ?? "Untitled service",
    documentVersion: textOf(documentVersion, 200),
    table,
    definition: { name: name ?? "Untitled service", authMethods: [] },
    operations,
    definitions: kept,
    problems: listed,
  };
}

function withLine(problem: ImportProblem, line: number | undefined): ImportProblem {
  return line === undefined ? problem : { ...problem, line };
}

function nothingLeft(problems: readonly ImportProblem[]): string {
  const first = problems.slice(0, 10).map(({ pointer, line, reason }) => {
    return `${pointer.slice(0, 200)}${line === undefined ? "" : ` (line ${line})`} ${reason.slice(0, 300)}`;
  });
  const more = problems.length > first.length ? [`and ${problems.length - first.length} more`] : [];
  return ["the document leaves no operation to import", ...first, ...more].join("; ");
}

function versionOf({ openapi }: JsonObject): { version: string; table: StyleTable } {
  const [, version] = /^(3\.[012])(?:\.\d+|$)/.exec(textOf(openapi, 20) ?? "") ?? [];
  if (version === undefined) {
    throw new ImportRefused(
      openapi === undefined
        ? "the document is none of OpenAPI: it has neither openapi nor swagger at its top"
        : `OpenAPI ${textOf(JSON.stringify(openapi), 50)} is not known; give a document of 2.0, 3.0, 3.1 or 3.2`,
    );
  }
  return { version, table: version === "3.0" ? "3.0" : "3.1" };
}

/** What a service sends by itself is no operation of it. */
function listOthers({ webhooks }: JsonObject, problems: ReturnType<typeof createProblems>): void {
  const count = Object.keys(membersOf(webhooks)).length;
  if (count > 0)
    problems.add("/webhooks", `${count} webhooks, which the service sends and nobody calls, are omitted`);
}
