import type { Sealed } from "#src/crypto/keyring.ts";
import { isKeyOf } from "#src/crypto/org-keys.ts";
import { orgKeys } from "#src/crypto/schema.ts";
import type { Tx } from "#src/db/database.ts";
import { and, eq, sql } from "#src/db/drizzle.cjs";
import type { Connection } from "../connection.ts";
import { connectionHealth, connections, credentials, oauthGrants } from "../schema.ts";
import { credentialFromRow, putCredential, rowFields, type StoredCredential } from "../store.ts";
import type { AfterFailure, GrantState, Times } from "./refresh-rules.ts";

/** A connection with OAuth, and how its grant stands. */
export interface Grant extends GrantState {
  readonly connection: ReturnType<typeof rowFields>;
  /** Undefined before the first authorization. */
  readonly credential: StoredCredential | undefined;
  /** The organisation's key that the credential was sealed with. */
  readonly wrappedKey: Buffer | null;
  readonly requestedScopes: readonly string[];
  readonly grantedScopes: readonly string[] | null;
  /** Why the last attempt failed. */
  readonly failure: string | null;
}

/** Names a connection, whose organisation may see it. */
export interface GrantRef {
  readonly orgId: string;
  readonly id: string;
}

/** Longer than any request to a token endpoint, so that two replicas never send one refresh token. */
const leaseSeconds = 30;

/** The grant of a connection, its row locked: attempts to refresh it follow one another. */
export async function lockGrant(tx: Tx, { orgId, id }: GrantRef): Promise<Grant | undefined> {
  // Locked as the row below refers to it: behind a deletion that is under way there is nothing left to refer to.
  await tx.execute(sql`
    insert into ${oauthGrants} (org_id, connection_id, requested_scopes)
    select org_id, id, '{}' from ${connections} where org_id = ${orgId} and id = ${id} for key share
    on conflict do nothing`);
  await tx
    .select({ id: oauthGrants.connectionId })
    .from(oauthGrants)
    .where(isOf({ orgId, id }))
    .for("update");
  // In a statement of its own: after its wait, the one above would have this row as it is now, and the credential as it
  // was before, which may be spent.
  const [row] = await selectGrants(tx).where(and(eq(connections.orgId, orgId), eq(connections.id, id)));
  return row && fromRow(row);
}

/**
 * The same, with the connection's row locked first, as deletions and other changes do: what is written is of the
 * connection as it is then.
 */
export async function lockWhole(tx: Tx, ref: GrantRef): Promise<Grant | undefined> {
  await tx
    .select({ id: connections.id })
    .from(connections)
    .where(and(eq(connections.orgId, ref.orgId), eq(connections.id, ref.id)))
    .for("update");
  return lockGrant(tx, ref);
}

/** Says that this owner asks the service now. The lease is by the clock of the database, which all replicas share. */
export async function leaseGrant(
  tx: Tx,
  ref: GrantRef,
  lease: { owner: string; sentVersion: number | null; doubts: number },
): Promise<void> {
  await tx
    .update(oauthGrants)
    .set({
      leaseOwner: lease.owner,
      leaseUntil: sql`clock_timestamp() + make_interval(secs => ${leaseSeconds})`,
      sentVersion: lease.sentVersion,
      doubts: lease.doubts,
    })
    .where(isOf(ref));
}

/** What is written of a grant that was given. */
export interface Given extends Times {
  readonly version: number;
  readonly boundTo: string;
  readonly sealed: Sealed;
  readonly fingerprint: string;
  readonly at: Date;
  /** Null where the service did not say. */
  readonly grantedScopes: readonly string[] | null;
}

/** Stores new tokens in place of the previous ones, and ends every doubt. */
export async function storeGiven(tx: Tx, ref: GrantRef, given: Given): Promise<void> {
  await putCredential(tx, ref.orgId, ref.id, {
    boundTo: given.boundTo,
    version: given.version,
    sealed: given.sealed,
    fingerprint: given.fingerprint,
    principalKeyId: undefined,
    form: "fields",
    expiresAt: given.expiresAt,
    refreshAt: given.refreshAt,
  });
  await tx
    .update(oauthGrants)
    .set({
      grantedScopes: given.grantedScopes && [...given.grantedScopes],
      refreshedAt: given.at,
      ...(given.refreshExpiresAt && { refreshExpiresAt: given.refreshExpiresAt }),
      keepAliveAt: given.keepAliveAt ?? null,
      ...{ leaseOwner: null, leaseUntil: null, sentVersion: null, retryAt: null, failure: null },
      ...{ doubts: 0, failures: 0 },
    })
    .where(isOf(ref));
}

/** Notes that an attempt gave no token, and lets others try. */
export async function storeFailure(tx: Tx, ref: GrantRef, after: AfterFailure): Promise<void> {
  await tx
    .update(oauthGrants)
    .set({
      ...{ doubts: after.doubts, failures: after.failures, retryAt: after.retryAt, failure: after.reason },
      ...{ leaseOwner: null, leaseUntil: null },
      ...(!after.staysSent && { sentVersion: null }),
    })
    .where(isOf(ref));
}

/** Says what a connection is in, and why it is not active. */
export async function storeStatus(
  tx: Tx,
  { orgId, id }: GrantRef,
  status: Connection["status"],
  reason: string | undefined,
): Promise<void> {
  await tx
    .update(connections)
    .set({ status, statusReason: reason ?? null })
    .where(and(eq(connections.orgId, orgId), eq(connections.id, id)));
}

/** Moves a connection to where its service says that it is, and makes its probe due. */
export async function storeBaseUrl(
  tx: Tx,
  { orgId, id }: GrantRef,
  baseUrl: string,
  now: Date,
): Promise<void> {
  await tx
    .update(connections)
    .set({ baseUrl })
    .where(and(eq(connections.orgId, orgId), eq(connections.id, id)));
  await tx
    .update(connectionHealth)
    .set({ nextDueAt: now })
    .where(and(eq(connectionHealth.orgId, orgId), eq(connectionHealth.connectionId, id)));
}

/** What was asked for at the service, for the next time. */
export async function storeRequestedScopes(tx: Tx, ref: GrantRef, scopes: readonly string[]): Promise<void> {
  await tx
    .update(oauthGrants)
    .set({ requestedScopes: [...scopes] })
    .where(isOf(ref));
}

/** What was asked for the last time; empty before the first. */
export async function requestedScopesOf(tx: Tx, ref: GrantRef): Promise<readonly string[]> {
  const [row] = await tx.select({ scopes: oauthGrants.requestedScopes }).from(oauthGrants).where(isOf(ref));
  return row?.scopes ?? [];
}

function isOf({ orgId, id }: GrantRef) {
  return and(eq(oauthGrants.orgId, orgId), eq(oauthGrants.connectionId, id));
}

function selectGrants(tx: Tx) {
  return tx
    .select({
      connection: connections,
      grant: oauthGrants,
      credential: credentials,
      wrappedKey: orgKeys.wrappedKey,
      isLeased: sql<boolean>`coalesce(${oauthGrants.leaseUntil} > clock_timestamp(), false)`,
    })
    .from(connections)
    .innerJoin(
      oauthGrants,
      and(eq(oauthGrants.orgId, connections.orgId), eq(oauthGrants.connectionId, connections.id)),
    )
    .leftJoin(
      credentials,
      and(eq(credentials.orgId, connections.orgId), eq(credentials.connectionId, connections.id)),
    )
    .leftJoin(orgKeys, isKeyOf(credentials.orgId, credentials.kekVersion));
}

type Row = Awaited<ReturnType<typeof selectGrants>>[number];

function fromRow({ connection, grant, credential, wrappedKey, isLeased }: Row): Grant {
  const { leaseOwner, sentVersion, doubts, failures, retryAt, failure } = grant;
  return {
    connection: rowFields(connection),
    credential: credential === null ? undefined : credentialFromRow(credential),
    wrappedKey,
    requestedScopes: grant.requestedScopes,
    grantedScopes: grant.grantedScopes,
    failure,
    status: connection.status,
    version: credential?.version ?? 0,
    isLeased,
    ...{ leaseOwner, sentVersion, doubts, failures, retryAt },
  };
}
