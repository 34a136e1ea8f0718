import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import type { Through } from "#src/calls/through.ts";
import type { Connections } from "#src/connections/connections.ts";
import type { SealedConnection } from "#src/connections/store.ts";
import type { Database, Tx } from "#src/db/database.ts";
import { findDescribed } from "#src/integrations/find-described.ts";
import type { ImportDocument, ImportPreview, Imports } from "#src/operations/import/imports.ts";
import { getCatalog } from "#src/operations/import/revision-store.ts";
import { noteCheck, setWatch } from "#src/operations/import/watch-store.ts";
import type { CatalogDrift } from "#src/operations/schema.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { documentHeaders, fetchedDocument, fetchingFor, maxDocumentBytes } from "./document.ts";
import { diffMessage, shownProblems, watchMessages } from "./import-messages.ts";
import { createServiceConnection } from "./service-connection.ts";

const dayMs = 24 * 60 * 60 * 1000;
const usualPath = "/openapi.json";

/** What refreshing a catalog needs. */
export interface RefreshParts {
  readonly database: Database;
  readonly change: Change;
  readonly connections: Pick<Connections, "usable">;
  readonly through: Through;
  readonly imports: Imports;
  readonly now: () => Date;
}

/** Compares what a service publishes of itself with what is in force. See the contract, `catalog_service.proto`. */
export function createRefreshCatalog(
  parts: RefreshParts,
): ServiceImpl<typeof CatalogService>["refreshCatalog"] {
  const { database, change, through, imports, now } = parts;
  const connectionFor = createServiceConnection(parts.connections);

  async function fetchThrough({ id }: SealedConnection, slug: string, context: HandlerContext) {
    const caller = callerOf(context);
    const path = await database.read(caller.orgId, (tx) => documentPath(tx, caller.orgId, slug));
    const { reply } = await through(caller, id, {
      ...fetchingFor(context),
      ...{ method: "GET", path, headers: documentHeaders, maxAnswerBytes: maxDocumentBytes },
      requestId: callOf(context).requestId,
    });
    return fetchedDocument(reply, { source: "service" });
  }

  return async ({ slug, connection: named, apply, daily }, context) => {
    const call = callOf(context);
    const { orgId } = callerOf(context);
    const connection = await connectionFor(slug, named, context);
    if (daily === true) requireShared(connection);
    const document = await fetchThrough(connection, slug, context);
    const target = { orgId, slug, signal: context.signal };

    const watching = async (tx: Tx) => {
      if (daily === undefined) return;
      const watch = { connectionId: connection.id, nextCheckAt: new Date(now().getTime() + dayMs) };
      await setWatch(tx, target, daily ? watch : undefined, now());
    };
    const watch = async () => {
      const catalog = await database.read(orgId, (tx) => getCatalog(tx, orgId, slug));
      const { watch } = catalog === undefined ? {} : watchMessages(catalog);
      return watch && { watch };
    };

    if (apply && !(await imports.isInForce(target, document))) {
      const done = await imports.run(call, target, document, async (tx, inForce) => {
        await watching(tx);
        await noteCheck(tx, target, { at: now(), drift: null, inForce });
        return { through: connection.id, daily: daily ?? null };
      });
      return { imported: true, inForce: true, diff: diffMessage(done.diff), problems: shownProblems(done.problems), problemCount: done.revision.problemCount, ...(await watch()) }; // prettier-ignore
    }
    const found = await imports.preview(target, document);
    await change(call, async (tx) => {
      await watching(tx);
      await noteCheck(tx, target, {
        at: now(),
        drift: driftOf(found, document),
        inForce: found.comparedWith,
      });
      const { added, removed, changed, breaking } = found.diff;
      const compared = { added: added.length, removed: removed.length, changed: changed.length, breaking };
      const details = {
        through: connection.id,
        digest: document.digest,
        inForce: found.isInForce,
        ...compared,
      };
      await append(tx, call, {
        action: "integration.refresh",
        target: slug,
        details: { ...details, daily: daily ?? null },
      });
    });
    return { inForce: found.isInForce, diff: diffMessage(found.diff), problems: shownProblems(found.problems), problemCount: found.problemCount, ...(await watch()) }; // prettier-ignore
  };
}

/** Where a service publishes its document, below its base URL. */
export async function documentPath(tx: Tx, orgId: string, slug: string): Promise<string> {
  return (await findDescribed(tx, orgId, slug))?.openapiPath ?? usualPath;
}

/** What is kept of a comparison; null if nothing differs. */
export function driftOf(
  { isInForce, diff }: ImportPreview,
  { digest }: Pick<ImportDocument, "digest">,
): CatalogDrift | null {
  const { added, removed, changed } = diff;
  if (isInForce || added.length + removed.length + changed.length === 0) return null;
  return {
    digest,
    added: added.length,
    removed: removed.length,
    changed: changed.length,
    breaking: removed.length + changed.filter(({ breaking }) => breaking).length,
  };
}

function requireShared({ visibility }: SealedConnection): void {
  if (visibility === "org") return;
  throw new InvalidRequest(
    "daily: the connection is private to its owner, and is used only while the owner calls; name one that is shared",
  );
}
