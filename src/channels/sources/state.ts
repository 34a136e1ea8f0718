import { and, eq, getTableColumns, inArray, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { channelSources } from "../schema.ts";

/** How reading a source goes. */
export interface SourceState {
  /** The id or cursor that it goes on behind. */
  readonly cursor: string | undefined;
  readonly isBeingRead: boolean;
  readonly dueAt: Date;
  readonly failures: number;
  readonly lastReadAt: Date | undefined;
  readonly lastError: string | undefined;
  readonly lastErrorAt: Date | undefined;
  readonly waitsFor: string | undefined;
}

/** A source that nobody has read yet. */
export function newSource(at: Date): SourceState {
  return {
    ...{ cursor: undefined, isBeingRead: false, dueAt: at, failures: 0 },
    ...{ lastReadAt: undefined, lastError: undefined, lastErrorAt: undefined, waitsFor: undefined },
  };
}

/** Makes the source of a new channel, to be read at once. */
export async function insertSource(tx: Tx, orgId: string, channelId: string, now: Date): Promise<void> {
  await tx.insert(channelSources).values({ orgId, channelId, position: {}, dueAt: now, failures: 0 });
}

/** Makes the source as it was when it was new; whoever reads it now stores nothing more. False if there is none. */
export async function resetSource(tx: Tx, orgId: string, channelId: string, now: Date): Promise<boolean> {
  const reset = await tx
    .update(channelSources)
    .set({
      ...{ position: {}, dueAt: now, failures: 0 },
      ...{ lease: null, leaseUntil: null, lastError: null, lastErrorAt: null, waitsFor: null },
    })
    .where(and(eq(channelSources.orgId, orgId), eq(channelSources.channelId, channelId)))
    .returning({ channelId: channelSources.channelId });
  return reset.length > 0;
}

/**
 * Has the source read at once, and on from where it was read to. Whoever reads it now stores nothing more. Pages of
 * another source, and what its answers were known by, are forgotten.
 */
export async function readAnew(
  tx: Tx,
  { orgId, id }: { readonly orgId: string; readonly id: string },
  { isOther }: { readonly isOther: boolean },
  now: Date,
): Promise<void> {
  const place = sql`(${channelSources.position}::jsonb #- '{poll,walk}' #- '{poll,validators}')::json`;
  await tx
    .update(channelSources)
    .set({
      ...{ dueAt: now, failures: 0, lease: null, leaseUntil: null, waitsFor: null },
      ...(isOther && { position: place }),
    })
    .where(and(eq(channelSources.orgId, orgId), eq(channelSources.channelId, id)));
}

/** How it goes with those channels that read a source. */
export async function sourceStates(
  tx: Tx,
  orgId: string,
  channelIds: readonly string[],
): Promise<ReadonlyMap<string, SourceState>> {
  const { position, ...columns } = getTableColumns(channelSources);
  // Of a long list, the rest of the position is long.
  const cursor = sql<string | null>`coalesce(${position}#>>'{stream,lastId}', ${position}#>>'{poll,cursor}')`;
  const rows = await tx
    .select({ ...columns, cursor })
    .from(channelSources)
    .where(and(eq(channelSources.orgId, orgId), inArray(channelSources.channelId, [...channelIds])));
  return new Map(
    rows.map((row) => [
      row.channelId,
      {
        cursor: row.cursor ?? undefined,
        isBeingRead: row.lease !== null,
        dueAt: row.dueAt,
        failures: row.failures,
        lastReadAt: row.lastReadAt ?? undefined,
        lastError: row.lastError ?? undefined,
        lastErrorAt: row.lastErrorAt ?? undefined,
        waitsFor: row.waitsFor ?? undefined,
      },
    ]),
  );
}
