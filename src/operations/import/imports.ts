import { nothingToAudit } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import type { CheckUrl } from "#src/integrations/definition-urls.ts";
import type { Call } from "#src/platform/caller.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { definitionFor } from "./apply-definition.ts";
import { UnknownRevision } from "./errors.ts";
import { createImportTurns } from "./import-turns.ts";
import type { ImportProblem } from "./imported.ts";
import { look, type Known } from "./known.ts";
import { createPutInForce, type Switch } from "./put-in-force.ts";
import { readerVersion, type OperationsDiff, type ReadDocument, type ReadDocumentResult } from "./reading.ts";
import {
  beginRevision,
  deleteSurplus,
  deleteUnfinished,
  finishRevision,
  getProblems,
  getRevision,
  takeNumber,
} from "./revision-store.ts";
import type { ImportSource, KeptRevision, NewRevision, Revision } from "./revision.ts";
import { insertRows, readRows, shippedRows } from "./row-store.ts";

/** A document that is to be imported, or only looked at. */
export interface ImportDocument {
  /** Handed over to the thread that reads it, so nobody else can read it afterwards. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** `sha256:…` of them. */
  readonly digest: string;
  readonly source: ImportSource;
  readonly sourceUrl?: string | undefined;
}

/** The service that it describes, and how long anybody waits for that. */
export interface ImportTarget {
  readonly orgId: string;
  readonly slug: string;
  readonly signal: AbortSignal;
}

/** How a description of a service differs from what is in force. */
export interface ImportDiff extends OperationsDiff {
  /** What changes in the integration, for people. */
  readonly definition: readonly string[];
}

/** What a document says, and what it would change. */
export interface ImportPreview extends Pick<
  NewRevision,
  "format" | "title" | "documentVersion" | "operations" | "problems" | "problemCount"
> {
  /** Whether the document is the one in force already. */
  readonly isInForce: boolean;
  /** The number of the revision that it was compared with. */
  readonly comparedWith: number;
  readonly diff: ImportDiff;
}

/** What an import has done. */
export interface ImportResult {
  /** False if the document was in force already, so that nothing changed. */
  readonly imported: boolean;
  readonly revision: KeptRevision;
  readonly problems: readonly ImportProblem[];
  readonly diff: ImportDiff;
}

/**
 * What else is done in the transaction that puts an import in force, in place of the revision with this number; answers
 * what is recorded of that.
 */
export type Alongside = (tx: Tx, inForce: number) => Promise<Readonly<Record<string, unknown>>>;

/** Keeps what documents say of services. */
export interface Imports {
  /** Whether the document is what is in force. */
  isInForce(target: ImportTarget, document: Pick<ImportDocument, "digest">): Promise<boolean>;
  preview(target: ImportTarget, document: ImportDocument): Promise<ImportPreview>;
  /** Puts what the document says in force, wholly or not at all; nothing changes if it is in force already. */
  run(
    call: Call,
    target: ImportTarget,
    document: ImportDocument,
    alongside?: Alongside,
  ): Promise<ImportResult>;
  /** Puts a kept import in force again, or with 0 what comes with Patchbay; answers what changes in the integration. */
  activate(call: Call, revision: Revision): Promise<readonly string[]>;
}

/** Creates the one way in which documents become what services offer. */
export function createImports(parts: {
  database: Database;
  change: Change;
  readDocument: ReadDocument;
  checkUrl: CheckUrl;
  log: Log;
  now: () => Date;
}): Imports {
  const { database, change, readDocument, checkUrl, log, now } = parts;
  const inTurn = createImportTurns();
  const putInForce = createPutInForce(parts);

  const lookAt = ({ orgId, slug }: ImportTarget) => database.read(orgId, (tx) => look(tx, orgId, slug));

  function read(target: ImportTarget, document: ImportDocument, { inForce }: Known, wantsRows: boolean) {
    const { orgId, slug, signal } = target;
    const inForceNow = { orgId, slug, number: inForce };
    const previous = inForce === 0 ? shippedRows(slug) : readRows(database, inForceNow);
    const { bytes, source, sourceUrl: url } = document;
    return readDocument({ orgId, bytes, source, url, previous, wantsRows, signal });
  }

  async function preview(target: ImportTarget, document: ImportDocument): Promise<ImportPreview> {
    const known = await lookAt(target);
    const { inForce, revision } = known;
    if (revision !== undefined && isInForce(known, document)) {
      const { problems, diff } = await asItIs(revision);
      return { ...revision, problems, diff, isInForce: true, comparedWith: inForce };
    }
    const { definition, diff, ...said } = (await read(target, document, known, false)).summary;
    const { changes } = await definitionFor(target.slug, known, definition, checkUrl);
    return {
      ...said,
      isInForce: false,
      comparedWith: inForce,
      diff: { ...diff, definition: changes },
    };
  }

  async function run(call: Call, target: ImportTarget, document: ImportDocument, alongside?: Alongside) {
    const { orgId, slug } = target;
    const known = await lookAt(target);
    if (known.revision !== undefined && isInForce(known, document) && alongside === undefined) {
      // A call with an Idempotency-Key that took effect before is told so.
      await change(call, async () => unchanged(undefined));
      nothingToAudit(call);
      return asItIs(known.revision);
    }
    const documentBytes = document.bytes.length;
    const { summary, rows } = await read(target, document, known, true);
    const { diff, definition, ...said } = summary;
    const { digest, source, sourceUrl } = document;
    const revision: NewRevision = {
      ...{ orgId, slug, digest, source, sourceUrl, documentBytes, ...said },
      number: await database.record(orgId, (tx) => takeNumber(tx, orgId, slug, now())),
      reader: readerVersion,
      definition: known.isOwn ? definition : undefined,
      createdAt: now(),
    };
    const changes = await keep(call, revision, rows, async (tx, { inForce }) => {
      const more = await alongside?.(tx, inForce);
      const details = { ...importDetails(inForce, known.inForce, revision, diff), ...more };
      return { action: "integration.import", details };
    });
    await forgetSurplus(target);
    return { imported: true, revision, problems: revision.problems, diff: { ...diff, definition: changes } };
  }

  /** Row by row, so that neither memory nor a transaction ever holds all of it. Nobody sees it before it is in force. */
  async function keep(
    call: Call,
    revision: NewRevision,
    rows: ReadDocumentResult["rows"],
    prepare: Switch["prepare"],
  ) {
    const { orgId } = revision;
    try {
      await database.record(orgId, (tx) => beginRevision(tx, revision));
      for await (const piece of rows) await database.record(orgId, (tx) => insertRows(tx, revision, piece));
      return await putInForce(call, {
        revision,
        async prepare(tx, known) {
          await finishRevision(tx, revision);
          return prepare(tx, known);
        },
      });
    } catch (error) {
      // Only what is not ready: if it is unknown whether the change took effect, it may be in force.
      await tryTo(() => database.record(orgId, (tx) => deleteUnfinished(tx, revision)));
      throw error;
    }
  }

  async function forgetSurplus({ orgId, slug }: ImportTarget): Promise<void> {
    await tryTo(async () => {
      while (await database.record(orgId, (tx) => deleteSurplus(tx, orgId, slug)));
    });
  }

  /** What fails here is tried again: with the next import, or by the sweep. */
  async function tryTo(tidy: () => Promise<void>): Promise<void> {
    await tidy().catch((error: unknown) =>
      log[levelOfFailure(error)]({ err: error }, "what an import left could not be deleted"),
    );
  }

  async function asItIs(revision: KeptRevision): Promise<ImportResult> {
    const problems = await database.read(revision.orgId, (tx) => getProblems(tx, revision));
    return { imported: false, revision, problems, diff: noDiff };
  }

  return {
    isInForce: async (target, document) => isInForce(await lookAt(target), document),
    preview: (target, document) => inTurn(target.orgId, () => preview(target, document), target.signal),
    run: (call, target, document, alongside) =>
      inTurn(target.orgId, () => run(call, target, document, alongside), target.signal),

    async activate(call, revision) {
      const { orgId, number } = revision;
      const definition = await database.read(orgId, (tx) => requireKept(tx, revision));
      return putInForce(call, {
        revision: { ...revision, definition },
        async prepare(tx, { inForce }) {
          await requireKept(tx, revision);
          if (inForce === number) return undefined;
          const details = { revision: { before: inForce, after: number } };
          return { action: "integration.activate", details };
        },
      });
    },
  };
}

const noDiff: ImportDiff = { added: [], removed: [], changed: [], breaking: false, definition: [] };

function isInForce({ revision }: Known, { digest }: Pick<ImportDocument, "digest">): boolean {
  return revision?.digest === digest && revision.reader === readerVersion;
}

/** What a kept revision says of the integration. What comes with Patchbay, if anything, says nothing of it. */
async function requireKept(tx: Tx, revision: Revision): Promise<KeptRevision["definition"]> {
  if (revision.number === 0) return undefined;
  const found = await getRevision(tx, revision);
  if (found === undefined) throw new UnknownRevision();
  return found.definition;
}

/** The figures are about the revision that it was compared with. Another may have come in force meanwhile: that is said. */
function importDetails(before: number, comparedWith: number, revision: NewRevision, diff: OperationsDiff) {
  const { number, digest, format, source, sourceUrl, operations, problemCount } = revision;
  return {
    revision: { before, after: number },
    ...(before !== comparedWith && { comparedWith }),
    ...{ digest, format, source, sourceUrl: sourceUrl ?? null, operations, problems: problemCount },
    ...{ added: diff.added.length, removed: diff.removed.length, changed: diff.changed.length },
    breaking: diff.breaking,
  };
}
