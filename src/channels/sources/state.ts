import { and, eq, inArray } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { channelSources } from "../schema.ts";
import type { Position } from "./position.ts";

/** How reading a source goes. */
export interface SourceState {
  readonly position: Position;
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
    ...{ position: {}, isBeingRead: false, dueAt: at, failures: 0 },
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

/** How it goes with those channels that read a source. */
export async function sourceStates(
  tx: Tx,
  orgId: string,
  channelIds: readonly string[],
): Promise<ReadonlyMap<string, SourceState>> {
  const rows = await tx
    .select()
    .from(channelSources)
    .where(and(eq(channelSources.orgId, orgId), inArray(channelSources.channelId, [...channelIds])));
  return new Map(
    rows.map((row) => [
      row.channelId,
      {
        position: row.position,
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
