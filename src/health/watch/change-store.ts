import type { Tx } from "#src/db/database.ts";
import { and, asc, eq, gt } from "#src/db/drizzle.cjs";
import type { Guarded } from "#src/connections/access.ts";
import { connectionChanges, connectionFarewells, connectionHeads } from "#src/connections/schema.ts";
import type { ServiceSlug } from "#src/integrations/slug.ts";
import type { Viewer } from "#src/platform/caller.ts";

/** How far an organisation's changes of connections are. */
export interface Head {
  /** The number of the last one. */
  readonly seq: number;
  /** Behind this number, none that says that a connection is gone is forgotten. */
  readonly keptFrom: number;
}

/** A connection was changed, or others than until then may see it. */
export interface ConnectionChange {
  readonly seq: number;
  readonly connectionId: string;
  /** What decided who saw it until then; undefined if that is as it was. */
  readonly was: Guarded | undefined;
}

/** The head of the organisation's changes. */
export async function readHead(tx: Tx, orgId: string): Promise<Head> {
  const [head] = await tx.select().from(connectionHeads).where(eq(connectionHeads.orgId, orgId));
  return head ?? { seq: 0, keptFrom: 0 };
}

/** Changes behind the number in their order. Of each connection, only the last that let those see it who could before. */
export async function readChanges(
  tx: Tx,
  { orgId, environment }: Viewer,
  after: number,
  limit: number,
): Promise<ConnectionChange[]> {
  const changes = connectionChanges;
  const farewells = connectionFarewells;
  const changed = await tx
    .select({ seq: changes.seq, connectionId: changes.connectionId })
    .from(changes)
    .where(and(eq(changes.orgId, orgId), eq(changes.environment, environment), gt(changes.seq, after)))
    .orderBy(asc(changes.seq))
    .limit(limit);
  const gone = await tx
    .select()
    .from(farewells)
    .where(and(eq(farewells.orgId, orgId), eq(farewells.environment, environment), gt(farewells.seq, after)))
    .orderBy(asc(farewells.seq))
    .limit(limit);
  return [...changed.map((row) => ({ ...row, was: undefined })), ...gone.map(farewellFromRow)]
    .toSorted((one, other) => one.seq - other.seq)
    .slice(0, limit);
}

function farewellFromRow(row: typeof connectionFarewells.$inferSelect): ConnectionChange {
  const { seq, connectionId, slug, tags, ownerUserId, visibility } = row;
  const was = {
    ...{ id: connectionId, tags, visibility },
    slug: (slug ?? undefined) as ServiceSlug | undefined,
    ownerUserId: ownerUserId ?? undefined,
  };
  return { seq, connectionId, was };
}
