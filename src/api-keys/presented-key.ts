import { sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { ConnectionRight } from "#src/platform/connection-right.ts";
import { addressCheck, type AddressCheck } from "./addresses.ts";
import type { ConnectionRights } from "./connection-rights.ts";

/** The key that a presented secret was issued for, and what is known of the secret. */
export interface PresentedKey {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  /** The bound user, if it is still active: a deactivated one leaves the key unbound. */
  readonly activeUserId: string | undefined;
  /** The bound user, active or not. */
  readonly boundUserId: string | undefined;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  /** The hash of the presented secret: a key can have several. */
  readonly secretHash: string;
  /** Until when the presented secret is good; undefined for the newest. */
  readonly validUntil: Date | undefined;
  /** Whether a call with the secret was ever let in, on whichever replica. */
  readonly wasUsed: boolean;
  readonly rateLimitPerMinute: number | undefined;
  /** For a service principal: the one service that may present it. */
  readonly callerServiceSlug: string | undefined;
  readonly allows: AddressCheck;
  readonly metadata: Readonly<Record<string, string>>;
  /** The connections that the key may use, and how. */
  readonly connections: ConnectionRights;
}

/** The key that the presented secret was issued for, in any organisation; undefined if no key has this hash. */
export async function findPresented(
  tx: Tx,
  hashes: { peppered: Buffer; plain: Buffer },
): Promise<PresentedKey | undefined> {
  // The caller's organisation is not known before its key is, so row security would show nothing:
  // this function looks past it, for one exact hash at a time.
  const rows = await tx.execute<PresentedRow>(sql`
    select org_id, key_id, encode(secret_hash, 'hex') as secret_hash, name, environment,
      array_to_json(scopes)::text as scopes, active_user_id, bound_user_id,
      extract(epoch from expires_at)::float8 * 1000 as expires_ms,
      extract(epoch from revoked_at)::float8 * 1000 as revoked_ms,
      extract(epoch from valid_until)::float8 * 1000 as valid_until_ms, was_used, rate_limit_per_minute,
      caller_service_slug, array_to_json(allowed_cidrs)::text as allowed_cidrs, metadata::text as metadata,
      connections::text as connections
    from find_api_key(${hashes.peppered}, ${hashes.plain})`);
  const row = rows[0];
  return row && fromPresentedRow(row);
}

interface PresentedRow extends Record<string, unknown> {
  org_id: string;
  key_id: string;
  secret_hash: string;
  name: string;
  environment: "sandbox" | "live";
  scopes: string;
  active_user_id: string | null;
  bound_user_id: string | null;
  expires_ms: number | null;
  revoked_ms: number | null;
  valid_until_ms: number | null;
  was_used: boolean;
  rate_limit_per_minute: number | null;
  caller_service_slug: string | null;
  allowed_cidrs: string;
  metadata: string;
  connections: string | null;
}

function fromPresentedRow(row: PresentedRow): PresentedKey {
  return {
    orgId: row.org_id,
    id: row.key_id,
    secretHash: row.secret_hash,
    name: row.name,
    environment: row.environment,
    scopes: JSON.parse(row.scopes) as string[],
    activeUserId: row.active_user_id ?? undefined,
    boundUserId: row.bound_user_id ?? undefined,
    expiresAt: dateFrom(row.expires_ms),
    revokedAt: dateFrom(row.revoked_ms),
    validUntil: dateFrom(row.valid_until_ms),
    wasUsed: row.was_used,
    rateLimitPerMinute: row.rate_limit_per_minute ?? undefined,
    callerServiceSlug: row.caller_service_slug ?? undefined,
    allows: addressCheck(JSON.parse(row.allowed_cidrs) as string[]),
    metadata: JSON.parse(row.metadata) as Record<string, string>,
    connections: row.connections === null ? undefined : (JSON.parse(row.connections) as ConnectionRight[]),
  };
}

/** Whether a key was ever imported into the environment. */
export async function importedKeysExist(tx: Tx, environment: Environment): Promise<boolean> {
  const [row] = await tx.execute<{ exist: boolean }>(
    sql`select imported_keys_exist(${environment}) as exist`,
  );
  return row?.exist === true;
}

function dateFrom(milliseconds: number | null): Date | undefined {
  return milliseconds === null ? undefined : new Date(milliseconds);
}
