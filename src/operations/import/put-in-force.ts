import { isDeepStrictEqual } from "node:util";
import { append, nothingToAudit } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import type { CheckUrl } from "#src/integrations/definition-urls.ts";
import type { Integration } from "#src/integrations/integration.ts";
import { lockOwn, putOwn } from "#src/integrations/store.ts";
import type { Call } from "#src/platform/caller.ts";
import { definitionFor } from "./apply-definition.ts";
import { look, type Known } from "./known.ts";
import { putInForce } from "./revision-store.ts";
import type { KeptRevision, Revision } from "./revision.ts";

/** What a change is recorded as, beside what it does to the integration. */
export interface Recorded {
  readonly action: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** A revision that is to be put in force, and what else happens in the transaction. */
export interface Switch {
  readonly revision: Revision & Partial<Pick<KeptRevision, "definition">>;
  /** What is due before it, and how it is recorded; undefined if there is nothing to do. */
  readonly prepare: (tx: Tx, known: Known) => Promise<Recorded | undefined>;
}

/** Puts a revision in force, with what it says of the integration, and answers what that changes there. */
export type PutInForce = (call: Call, wanted: Switch) => Promise<readonly string[]>;

/** Creates the one way in which what is in force changes. */
export function createPutInForce(parts: {
  database: Database;
  change: Change;
  checkUrl: CheckUrl;
  now: () => Date;
}): PutInForce {
  const { database, change, checkUrl, now } = parts;

  return async (call, { revision, prepare }) => {
    const { orgId, slug } = revision;
    // A definition is judged before, as that takes time; if another change came in between, anew.
    for (;;) {
      const judged = await database.read(orgId, (tx) => look(tx, orgId, slug));
      const definition = await definitionFor(slug, judged, revision.definition, checkUrl);
      const done = await change(call, async (tx) => {
        await lockOwn(tx, orgId, slug);
        const known = await look(tx, orgId, slug, "locked");
        if (hasChanged(judged, known)) return unchanged("changed");
        const recorded = await prepare(tx, known);
        if (recorded === undefined) return unchanged("nothing to do");
        await putInForce(tx, revision, definition.given, now());
        const { next } = definition;
        if (next !== undefined) await putOwn(tx, orgId, next, now());
        const details = {
          ...recorded.details,
          ...(next && { integration: integrationDetails(known.own, next) }),
        };
        await append(tx, call, { action: recorded.action, target: slug, details });
        return "done";
      });
      if (done === "changed") continue;
      if (done === "nothing to do") nothingToAudit(call);
      return done === "done" ? definition.changes : [];
    }
  };
}

/** Not by its version alone, which begins again when an integration is deleted. */
function hasChanged(before: Known, after: Known): boolean {
  return before.inForce !== after.inForce || !isDeepStrictEqual(before.own, after.own);
}

/** As `integration.upsert` records it: where credentials go, and how one signs in. */
function integrationDetails(before: Integration | undefined, after: Integration) {
  return {
    version: { before: before?.version ?? null, after: after.version },
    baseUrl: { before: before?.baseUrl ?? null, after: after.baseUrl ?? null },
    authMethods: after.authMethods.map(({ id }) => id),
  };
}
