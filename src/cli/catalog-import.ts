import {
  ImportOpenApiResponseSchema,
  PreviewImportResponseSchema,
  RefreshCatalogResponseSchema,
  type CatalogDiff,
  type ImportOpenApiRequest,
  type ImportProblem,
} from "#src/client/node.ts";
import { limits } from "#src/operations/reader/limits.ts";
import { present } from "#src/platform/present.ts";
import { diffSummary, diffText, operationsText, problemsText } from "./catalog-diff.ts";
import type { ImportFlags, RefreshFlags } from "./catalog-commands.ts";
import { printable, printJson } from "./print.ts";
import { withProgress } from "./progress.ts";
import { ask, contentOf } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";

/** The exit code where callers would have to change for what is not imported yet. */
const breaks = 3;

/** Imports a document for a service. */
export async function importDocument(file: string, flags: Shown & ImportFlags): Promise<void> {
  const { slug } = flags;
  const source = await sourceOf(file);
  const asked = ask(flags, ({ catalog }) => catalog.importOpenApi({ slug, source }));
  const answer = await withProgress(`importing ${nameOf(file)} for ${slug}`, asked);
  if (flags.json) return printJson(ImportOpenApiResponseSchema, answer);
  const { imported, revision, diff, problems } = answer;
  const { revision: number = 0, operations = 0, title = "", format = "", problemCount = 0 } = revision ?? {};
  const outcome = imported ? `imported as revision ${number}` : `in force already, as revision ${number}`;
  printChange(`${slug}: ${operationsText(operations)} of ${title} (${format}), ${outcome}`, {
    ...{ diff, problems, problemCount },
  });
}

/** Says what an import would change. Answers the exit code. */
export async function previewImport(file: string, flags: Shown & ImportFlags): Promise<number> {
  const { slug } = flags;
  const source = await sourceOf(file);
  const asked = ask(flags, ({ catalog }) => catalog.previewImport({ slug, source }));
  const answer = await withProgress(`reading ${nameOf(file)} for ${slug}`, asked);
  const { inForce, operations, title, format, diff } = answer;
  const outcome = inForce ? "in force already" : "not imported yet";
  if (flags.json) printJson(PreviewImportResponseSchema, answer);
  else printChange(`${slug}: ${operationsText(operations)} of ${title} (${format}), ${outcome}`, answer);
  return diff?.breaking === true ? breaks : 0;
}

/** Compares what a service publishes of itself with what is in force. Answers the exit code. */
export async function refreshCatalog(slug: string, flags: Shown & RefreshFlags): Promise<number> {
  const { connection, apply = false, daily } = flags;
  const wanted = present({ slug, connection, apply, daily: daily === undefined ? undefined : isOn(daily) });
  const asked = ask(flags, ({ catalog }) => catalog.refreshCatalog(wanted));
  const answer = await withProgress(`asking ${slug} for its document`, asked);
  const { imported, inForce, diff, watch } = answer;
  const outcome = imported ? "imported" : inForce ? "in force already" : "not imported yet";
  const isWatched = watch === undefined ? "" : "; it is compared daily";
  if (flags.json) printJson(RefreshCatalogResponseSchema, answer);
  else if (daily === "off" && !apply) process.stdout.write(`${slug}: not compared daily any more\n`);
  else printChange(`${slug}: its own document, ${outcome}${isWatched}`, answer);
  return diff?.breaking === true && !imported ? breaks : 0;
}

/** What differed, and what was left out. */
interface Change {
  readonly diff?: CatalogDiff | undefined;
  readonly problems: readonly ImportProblem[];
  readonly problemCount: number;
}

function printChange(head: string, { diff, problems, problemCount }: Change): void {
  const difference = diff === undefined ? "" : `${diffSummary(diff)}\n${diffText(diff)}`;
  process.stdout.write(`${printable(head)}\n${difference}${problemsText(problems, problemCount)}`);
}

function isOn(text: string): boolean {
  if (text !== "on" && text !== "off") throw new Error("--daily: give on or off");
  return text === "on";
}

/** A URL is fetched by the service, which holds to its own rules about addresses. */
async function sourceOf(file: string): Promise<ImportOpenApiRequest["source"]> {
  if (/^https?:\/\//i.test(file)) return { case: "url", value: file };
  const value = await contentOf(file);
  if (value.length > limits.bytes) throw new Error(`${nameOf(file)} is larger than 16 MiB`);
  return { case: "document", value };
}

function nameOf(file: string): string {
  return file === "-" ? "the document" : file;
}
