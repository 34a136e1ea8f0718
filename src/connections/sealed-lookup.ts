import type { Database } from "#src/db/database.ts";
import { createRecent } from "#src/db/recent.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { findSealed, type SealedConnection } from "./store.ts";

/** Finds the connection that has the slug or the id, and its sealed credential; undefined if there is none. */
export type SealedLookup = (viewer: Viewer, ref: string) => Promise<SealedConnection | undefined>;

/**
 * Remembers what the database says of connections that are called through. Address and credential were read in one
 * statement and are remembered as one, sealed: nothing in the clear outlives a call.
 */
export async function createSealedLookup(parts: {
  database: Database;
  monotonicNow: () => number;
}): Promise<SealedLookup> {
  const { database, monotonicNow } = parts;
  const known = await createRecent<SealedConnection>({
    database,
    kinds: ["connection", "org-key"],
    dependsOn: ({ orgId, id, credential, fallback }) => [
      `connection/${orgId}/${id}`,
      ...[credential, fallback].flatMap((one) => (one ? [`org-key/${orgId}/${one.sealed.kekVersion}`] : [])),
    ],
    monotonicNow,
  });

  // That a slug has no connection is not remembered: it would have to be forgotten when one is made.
  async function ask(viewer: Viewer, ref: string): Promise<SealedConnection | undefined> {
    const asked = known.moment();
    const connection = await database.read(viewer.orgId, (tx) => findSealed(tx, viewer, ref));
    if (connection === undefined) return undefined;
    // Under both names, so that calls by the one know what calls by the other asked for.
    for (const name of [connection.id, connection.slug]) {
      if (name !== undefined) known.remember(entryOf(viewer, name), connection, asked);
    }
    return connection;
  }

  return async (viewer, ref) => {
    const entry = entryOf(viewer, ref);
    return known.recall(entry) ?? known.askOnce(entry, () => ask(viewer, ref));
  };
}

function entryOf({ orgId, environment }: Viewer, ref: string): string {
  return `${orgId}/${environment}/${ref}`;
}
