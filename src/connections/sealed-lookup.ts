import type { Database } from "#src/db/database.ts";
import { createRecent } from "#src/db/recent.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { findSealed, type SealedConnection } from "./store.ts";

/** Finds the connection that has the slug, and its sealed credential; undefined if there is none. */
export type SealedLookup = (viewer: Viewer, slug: string) => Promise<SealedConnection | undefined>;

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
    dependsOn: ({ orgId, id, credential }) => [
      `connection/${orgId}/${id}`,
      `org-key/${orgId}/${credential.sealed.kekVersion}`,
    ],
    monotonicNow,
  });

  // That a slug has no connection is not remembered: it would have to be forgotten when one is made.
  async function ask(viewer: Viewer, slug: string, id: string): Promise<SealedConnection | undefined> {
    const asked = known.moment();
    const connection = await database.read(viewer.orgId, (tx) => findSealed(tx, viewer, slug));
    if (connection !== undefined) known.remember(id, connection, asked);
    return connection;
  }

  return async (viewer, slug) => {
    const id = `${viewer.orgId}/${viewer.environment}/${slug}`;
    return known.recall(id) ?? known.askOnce(id, () => ask(viewer, slug, id));
  };
}
