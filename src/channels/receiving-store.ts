import { sql } from "#src/db/drizzle.cjs";
import type { Sealed } from "#src/crypto/keyring.ts";
import type { Tx } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { ChannelConfig, ChannelKind } from "./channel.ts";

/** What a sender's request is taken by, its secrets sealed. */
export interface SealedReceiving {
  readonly orgId: string;
  readonly kind: ChannelKind;
  readonly config: ChannelConfig;
  readonly segmentHash: Buffer | undefined;
  readonly secrets: readonly SealedSecret[];
}

/** A secret of a channel, and the key that opens it. */
export interface SealedSecret {
  readonly version: number;
  readonly sealed: Sealed;
  readonly wrappedKey: Buffer;
  readonly validUntil: Date | undefined;
}

interface Row extends Record<string, unknown> {
  readonly org_id: string;
  readonly kind: ChannelKind;
  readonly config: string;
  readonly segment_hash: Buffer | null;
  readonly version: number | null;
  readonly sealed: Buffer | null;
  readonly kek_version: number | null;
  readonly wrapped_key: Buffer | null;
  readonly valid_until_ms: number | null;
}

/** The channel that a sender names, of whichever organisation; undefined if there is none that takes requests. */
export async function findReceiving(
  tx: Tx,
  id: string,
  environment: Environment,
  now: Date,
): Promise<SealedReceiving | undefined> {
  const rows = await tx.execute<Row>(sql`
    select org_id, kind, config::text as config, segment_hash, version, sealed, kek_version, wrapped_key,
      extract(epoch from valid_until)::float8 * 1000 as valid_until_ms
    from find_receiving_channel(${id}, ${environment}, ${now.toISOString()}::timestamptz)`);
  const [first] = rows;
  return (
    first && {
      orgId: first.org_id,
      kind: first.kind,
      config: JSON.parse(first.config) as ChannelConfig,
      segmentHash: first.segment_hash ?? undefined,
      secrets: rows.flatMap(secretOf),
    }
  );
}

function secretOf(row: Row): SealedSecret[] {
  const { version, sealed, kek_version: kekVersion, wrapped_key: wrappedKey } = row;
  if (version === null || sealed === null || kekVersion === null || wrappedKey === null) return [];
  const validUntil = row.valid_until_ms === null ? undefined : new Date(row.valid_until_ms);
  return [{ version, sealed: { kekVersion, bytes: sealed }, wrappedKey, validUntil }];
}
