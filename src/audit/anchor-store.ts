import { and, asc, desc, eq, gt, gte, lte, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { SignedHead } from "./anchor.ts";
import { auditAnchors, auditEvents, auditStarts } from "./schema.ts";
import type { Head } from "./verify-chain.ts";

/** A record with events behind its last anchor, and where that anchor is. */
export interface DueAnchor extends Head {
  readonly orgId: string;
}

/** An anchor that is to be published. */
export interface ClaimedAnchor extends SignedHead {
  readonly orgId: string;
}

/** Which organisations: those behind this one. */
export interface OrganizationPage {
  readonly behind: string;
  readonly most: number;
}

/** Records that have events behind their last anchor, if that is so old. */
export async function dueAnchors(
  tx: Tx,
  now: Date,
  waitSeconds: number,
  { behind, most }: OrganizationPage,
): Promise<DueAnchor[]> {
  const rows = await tx.execute<{ org_id: string; seq: string; hash: Buffer }>(
    sql`select * from due_anchors(${now.toISOString()}::timestamptz, ${waitSeconds}::integer, ${behind}, ${most}::integer)`,
  );
  return rows.map(({ org_id: orgId, seq, hash }) => ({ orgId, seq: BigInt(seq), hash }));
}

/** Keeps an anchor. Replicas that anchor the same event at once keep one. */
export async function insertAnchor(tx: Tx, orgId: string, anchor: SignedHead): Promise<void> {
  await tx
    .insert(auditAnchors)
    .values({ orgId, ...anchor })
    .onConflictDoNothing();
}

/** Takes anchors that are to be published: no other replica gets them for a minute. */
export async function claimAnchors(tx: Tx, most: number): Promise<ClaimedAnchor[]> {
  const rows = await tx.execute<{
    org_id: string;
    seq: string;
    hash: Buffer;
    at: string;
    key_id: string;
    signature: Buffer;
  }>(sql`select * from claim_anchors(${most}::integer)`);
  return rows.map(({ org_id: orgId, seq, hash, at, key_id: keyId, signature }) => ({
    ...{ orgId, seq: BigInt(seq), hash, at: new Date(at), keyId, signature },
  }));
}

/** Notes that anchors were published. */
export async function settleAnchors(tx: Tx, anchors: readonly ClaimedAnchor[], now: Date): Promise<void> {
  const orgs = sql.param(anchors.map(({ orgId }) => orgId));
  const seqs = sql.param(anchors.map(({ seq }) => String(seq)));
  await tx.execute(
    sql`select settle_anchors(${orgs}::text[], ${seqs}::bigint[], ${now.toISOString()}::timestamptz)`,
  );
}

/** The anchors of events behind one and up to another, in their order. */
export async function readAnchors(tx: Tx, orgId: string, after: bigint, upTo: bigint): Promise<SignedHead[]> {
  const { seq } = auditAnchors;
  return await tx
    .select()
    .from(auditAnchors)
    .where(and(eq(auditAnchors.orgId, orgId), gt(seq, after), lte(seq, upTo)))
    .orderBy(asc(seq));
}

/** The newest anchor; of those that were published, if only they count. */
export async function lastAnchor(
  tx: Tx,
  orgId: string,
  { published = false } = {},
): Promise<SignedHead | undefined> {
  const [anchor] = await tx
    .select()
    .from(auditAnchors)
    .where(
      and(
        eq(auditAnchors.orgId, orgId),
        published ? sql`${auditAnchors.publishedAt} is not null` : undefined,
      ),
    )
    .orderBy(desc(auditAnchors.seq))
    .limit(1);
  return anchor;
}

/** Where what is kept of the record begins; undefined if that is its first event. */
export async function readStart(tx: Tx, orgId: string): Promise<SignedHead | undefined> {
  const [start] = await tx.select().from(auditStarts).where(eq(auditStarts.orgId, orgId));
  return start;
}

/** Records that begin before the time. */
export async function oldRecords(
  tx: Tx,
  before: Date,
  { behind, most }: OrganizationPage,
): Promise<{ orgId: string }[]> {
  const rows = await tx.execute<{ id: string }>(
    sql`select id from old_records(${before.toISOString()}::timestamptz, ${behind}, ${most}::integer) as id`,
  );
  return rows.map(({ id }) => ({ orgId: id }));
}

/**
 * The first event of a part, in the order of the chain, that was recorded at the time or later. Of a part, or all that
 * is old would be looked through again for each piece of it that is removed.
 */
export async function firstSince(
  tx: Tx,
  orgId: string,
  since: Date,
  { after, upTo }: { readonly after: bigint; readonly upTo: bigint },
): Promise<bigint | undefined> {
  const { seq, at } = auditEvents;
  const [event] = await tx
    .select({ seq })
    .from(auditEvents)
    .where(and(eq(auditEvents.orgId, orgId), gt(seq, after), lte(seq, upTo), gte(at, since)))
    .orderBy(asc(seq))
    .limit(1);
  return event?.seq;
}

/** Removes the beginning of the record of the transaction's organisation; false if that is done already. */
export async function expireUpTo(tx: Tx, { seq, hash, at, keyId, signature }: SignedHead): Promise<boolean> {
  const [row] = await tx.execute<{ expired: boolean }>(
    sql`select expire_audit(
      ${String(seq)}::bigint, ${hash}, ${at.toISOString()}::timestamptz, ${keyId}, ${signature}) as expired`,
  );
  return row?.expired === true;
}
