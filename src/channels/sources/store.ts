import { sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { ChannelConfig } from "../channel.ts";
import type { Position } from "./position.ts";
import type { ClaimedSource, Outcome } from "./source.ts";

interface ClaimedRow extends Record<string, unknown> {
  readonly orgId: string;
  readonly channelId: string;
  readonly lease: string;
  readonly config: string;
  readonly connectionId: string | null;
  readonly baseUrl: string | null;
  readonly position: string;
  readonly failures: number;
}

/** The lease of the source is over, or its channel is not read any more: what was read must not be stored. */
export class LeaseLost extends Error {}

/** What a source may have missed, as its event says it. */
export interface Gap {
  readonly channel: string;
  /** Where it was read to. */
  readonly from: string | null;
  /** From where it is read on. */
  readonly to: string | null;
  readonly why: "NO_POSITION" | "POSITION_REFUSED" | "CURSOR_EXPIRED" | "PAGE_LIMIT" | "EVENT_TOO_LARGE";
  readonly message: string;
}

/** Claims sources that are due, of all organisations. */
export async function claimSources(
  tx: Tx,
  environment: Environment,
  now: Date,
  most: number,
): Promise<ClaimedSource[]> {
  const rows = await tx.execute<ClaimedRow>(
    sql`select org_id as "orgId", channel_id as "channelId", lease, config::text,
          connection_id as "connectionId", base_url as "baseUrl", source_position::text as position, failures
        from claim_due_sources(${environment}, ${now.toISOString()}::timestamptz, ${most})`,
  );
  return rows.map(({ config, position, connectionId, baseUrl, ...row }): ClaimedSource => {
    const claimed = {
      ...row,
      ...{ connectionId: connectionId ?? "", baseUrl: baseUrl ?? "" },
      position: JSON.parse(position) as Position,
    };
    const { sse, poll } = JSON.parse(config) as Pick<ChannelConfig, "sse" | "poll">;
    if (sse !== undefined) return { ...claimed, kind: "sse", config: sse };
    if (poll !== undefined) return { ...claimed, kind: "poll", config: poll };
    throw new Error(`channel ${row.channelId} has no source`);
  });
}

/** Renews leases; answers those that still hold, each with the base URL of its connection. */
export async function holdSources(
  tx: Tx,
  leases: readonly string[],
  now: Date,
): Promise<ReadonlyMap<string, string>> {
  const rows = await tx.execute<{ lease: string; baseUrl: string }>(
    sql`select lease, base_url as "baseUrl" from hold_sources(${sql.param(leases)}::text[], ${now.toISOString()}::timestamptz)`,
  );
  return new Map(rows.map(({ lease, baseUrl }) => [lease, baseUrl]));
}

/** Moves the position of a source in the transaction of the events that it covers. Throws LeaseLost. */
export async function advanceSource(
  tx: Tx,
  { orgId, channelId, lease }: ClaimedSource,
  position: Position,
  now: Date,
  gap?: Gap,
): Promise<void> {
  const [row] = await tx.execute<{ moved: boolean }>(
    sql`select advance_source(${orgId}, ${channelId}, ${lease}, ${JSON.stringify(position)}::json,
          ${now.toISOString()}::timestamptz, ${gap === undefined ? null : JSON.stringify(gap)}::json) as moved`,
  );
  if (row?.moved !== true) throw new LeaseLost();
}

/** Gives a source back, unless the lease is over already. */
export async function settleSource(
  tx: Tx,
  { orgId, channelId, lease }: ClaimedSource,
  { pauseMs, failed, waitsFor, blocked }: Outcome,
  now: Date,
): Promise<void> {
  const due = new Date(now.getTime() + pauseMs).toISOString();
  await tx.execute(
    sql`select settle_source(${orgId}, ${channelId}, ${lease}, ${due}::timestamptz,
          ${now.toISOString()}::timestamptz, ${failed ?? null}::text, ${waitsFor ?? null}::text, ${blocked ?? null}::text)`,
  );
}
