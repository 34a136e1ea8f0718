import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  ActivateRevisionResponseSchema,
  GetRevisionResponseSchema,
  ListRevisionsResponseSchema,
  type CatalogRevision,
  type ListRevisionsResponse,
  type PatchbayClient,
} from "#src/client/node.ts";
import { present } from "#src/platform/present.ts";
import { operationsText, problemsText } from "./catalog-diff.ts";
import { printable, printJson } from "./print.ts";
import { ask } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { table } from "./table.ts";

/** Prints the imports of a service that are kept, latest first. */
export async function listRevisions(slug: string, flags: Shown): Promise<void> {
  const answer = await ask(flags, ({ catalog }) => catalog.listRevisions({ slug }));
  if (flags.json) return printJson(ListRevisionsResponseSchema, answer);
  process.stdout.write(table(headings, answer.revisions.map(rowOf)) + watchText(answer));
}

/** Prints one import, with all that was left out of its document. */
export async function showRevision(slug: string, number: string, flags: Shown): Promise<void> {
  const { revision, problems } = await ask(flags, (client) =>
    wholeRevision(client, { slug, revision: numberIn(number) }),
  );
  if (flags.json) return printJson(GetRevisionResponseSchema, present({ revision, problems }));
  process.stdout.write(
    table(headings, revision ? [rowOf(revision)] : []) +
      problemsText(problems, revision?.problemCount ?? 0, problems.length),
  );
}

/** Puts a kept import in force. */
export async function activateRevision(slug: string, number: string, flags: Shown): Promise<void> {
  const answer = await ask(flags, ({ catalog }) =>
    catalog.activateRevision({ slug, revision: numberIn(number) }),
  );
  if (flags.json) return printJson(ActivateRevisionResponseSchema, answer);
  const { revision, definition } = answer;
  const lines = definition.map((what) => `  * ${printable(what)}\n`).join("");
  process.stdout.write(
    `${slug}: revision ${revision?.revision ?? 0} is in force, with ${operationsText(revision?.operations ?? 0)}\n${lines}`,
  );
}

async function wholeRevision({ catalog }: PatchbayClient, wanted: { slug: string; revision: number }) {
  const { revision, problems, nextPageToken } = await catalog.getRevision(wanted);
  for (let pageToken = nextPageToken; pageToken !== undefined;) {
    const page = await catalog.getRevision({ ...wanted, pageToken });
    problems.push(...page.problems);
    pageToken = page.nextPageToken;
  }
  return { revision, problems };
}

const headings = [
  "REVISION",
  "IN FORCE",
  "OPERATIONS",
  "PROBLEMS",
  "FORMAT",
  "VERSION",
  "SOURCE",
  "IMPORTED",
];

function rowOf(one: CatalogRevision): string[] {
  return [
    String(one.revision),
    one.inForce ? "yes" : "-",
    String(one.operations),
    String(one.problemCount),
    one.format,
    one.documentVersion ?? "-",
    one.sourceUrl ?? one.source,
    timeText(one.createdAt) ?? "-",
  ];
}

/** How the service's own document compares, where it is asked for. */
function watchText({ watch, drift, checkedAt }: ListRevisionsResponse): string {
  const checked = timeText(checkedAt);
  const lines = [
    ...(watch === undefined ? [] : [`compared daily, next at ${timeText(watch.nextCheckAt) ?? "once"}`]),
    ...(checked === undefined ? [] : [`compared at ${checked}: ${driftText(drift)}`]),
  ];
  return lines.length === 0 ? "" : `\n${lines.map((line) => `${printable(line)}\n`).join("")}`;
}

function driftText(drift: ListRevisionsResponse["drift"]): string {
  if (drift === undefined) return "no difference";
  if (drift.error !== undefined) return drift.error;
  const counts = `${drift.added} added, ${drift.changed} changed, ${drift.removed} removed`;
  return drift.breaking ? `${counts}; callers may have to change` : counts;
}

function timeText(time: Timestamp | undefined): string | undefined {
  return time && timestampDate(time).toISOString();
}

function numberIn(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${text} is no revision: give its number`);
  return Number(text);
}
