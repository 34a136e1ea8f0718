import type { Connections } from "#src/connections/connections.ts";
import { ConnectionNotFound } from "#src/connections/errors.ts";
import type { Database } from "#src/db/database.ts";
import { ImportBusy } from "#src/operations/import/errors.ts";
import type { Imports } from "#src/operations/import/imports.ts";
import {
  checkAgain,
  claimDue,
  deleteAbandoned,
  noteCheck,
  noteFailure,
  setWatch,
  type DueCatalog,
} from "#src/operations/import/watch-store.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Environment } from "#src/platform/caller.ts";
import { levelOfFailure, ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { documentHeaders, fetchedDocument, maxDocumentBytes } from "./document.ts";
import { documentPath, driftOf } from "./refresh.ts";

const lookEveryMs = 60_000;
const busyPauseMs = 10 * 60_000;
/** No import takes that long. */
const abandonedAfterMs = 60 * 60_000;
const noConnection =
  "the connection that it was fetched through is deleted, private by now, or has no credential, so it is not compared " +
  "daily any more";

/** Replicas share the work through what is due in the table. It only reports: nothing is imported. */
export function createCatalogWatch(parts: {
  database: Database;
  connections: Pick<Connections, "openUnattended">;
  outbound: Pick<Outbound, "send">;
  imports: Imports;
  environment: Environment;
  log: Log;
  now: () => Date;
}): Loop {
  const { database, connections, outbound, imports, environment, log, now } = parts;

  async function fetchFor({ orgId, slug, connectionId }: DueCatalog, signal: AbortSignal) {
    const path = await database.read(orgId, (tx) => documentPath(tx, orgId, slug));
    const opened = await connections.openUnattended({ orgId, environment }, connectionId);
    if (opened === undefined) throw new ConnectionNotFound();
    const { connection, credential } = opened;
    using _wiped = credential;
    const reply = await outbound.send({
      ...{ share: orgId, lane: "documents", baseUrl: connection.baseUrl, method: "GET", path, credential },
      ...{ headers: documentHeaders, maxAnswerBytes: maxDocumentBytes, signal },
    });
    return await fetchedDocument(reply, { source: "service" });
  }

  async function compare(due: DueCatalog, signal: AbortSignal): Promise<void> {
    const document = await fetchFor(due, signal);
    const found = await imports.preview({ ...due, signal }, document);
    const drift = driftOf(found, document);
    if (drift !== null) log.info({ slug: due.slug, ...drift }, "a service's own document differs");
    const checked = { at: now(), drift, inForce: found.comparedWith };
    await database.record(due.orgId, (tx) => noteCheck(tx, due, checked));
  }

  async function report(due: DueCatalog, error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted || error instanceof ImportBusy) {
      const soon = new Date(now().getTime() + busyPauseMs);
      return database.record(due.orgId, (tx) => checkAgain(tx, due, soon));
    }
    log[levelOfFailure(error)]({ err: error, slug: due.slug }, "a service's own document was not compared");
    // Nothing that is tried tomorrow brings it back, and whoever has no connection could not switch this off.
    const isOver = error instanceof ConnectionNotFound;
    const message = error instanceof ServiceError ? error.message : "internal error";
    await database.record(due.orgId, async (tx) => {
      await noteFailure(tx, due, now(), isOver ? noConnection : message);
      if (isOver) await setWatch(tx, due, undefined, now());
    });
  }

  /** One after the other, since there is one import at a time. */
  async function compareAll(signal: AbortSignal): Promise<void> {
    const begunBefore = new Date(now().getTime() - abandonedAfterMs);
    await database.system((tx) => deleteAbandoned(tx, begunBefore));
    while (!signal.aborted) {
      const [due] = await database.system((tx) => claimDue(tx, environment, now(), 1));
      if (due === undefined) return;
      await compare(due, signal).catch((error: unknown) => report(due, error, signal));
    }
  }

  return createLoop({ name: "the daily comparison", everyMs: lookEveryMs, work: compareAll, log });
}
