import { createHash } from "node:crypto";
import { wrappedKeyOf } from "#src/crypto/org-keys.ts";
import type { Tx } from "#src/db/database.ts";
import { and, desc, eq, lt, sql } from "#src/db/drizzle.cjs";
import { orgs } from "#src/directory/schema.ts";
import type { Environment } from "#src/platform/caller.ts";
import { oauthFlows } from "../schema.ts";

/** An authorization under way, as it is stored. */
export type Flow = typeof oauthFlows.$inferSelect;
/** Where it stands: a link that nobody opened, a person at the service, or a code to be typed in there. */
export type FlowStage = Flow["stage"];

/** What stands for a token, a `state` or a cookie in the database: whoever reads that has none to present. */
export function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** More than a person opens; what is older is not waited for. */
const mostOfConnection = 50;

/** Stores it, and forgets what nobody can use any more. */
export async function insertFlow(tx: Tx, flow: Flow, now: Date): Promise<void> {
  const { orgId, connectionId } = flow;
  await tx.delete(oauthFlows).where(and(eq(oauthFlows.orgId, orgId), lt(oauthFlows.expiresAt, now)));
  const kept = tx
    .select({ tokenHash: oauthFlows.tokenHash })
    .from(oauthFlows)
    .where(and(eq(oauthFlows.orgId, orgId), eq(oauthFlows.connectionId, connectionId)))
    .orderBy(desc(oauthFlows.expiresAt))
    .limit(mostOfConnection - 1);
  await tx.execute(sql`
    delete from ${oauthFlows}
    where org_id = ${orgId} and connection_id = ${connectionId} and token_hash not in ${kept}`);
  await tx.insert(oauthFlows).values(flow);
}

/** Takes the flow of this token: no other request gets it, whatever becomes of this one. */
export async function takeFlow(tx: Tx, tokenHash: Buffer, stage: FlowStage): Promise<Flow | undefined> {
  return oneOf(tx, sql`take_oauth_flow(${tokenHash}, ${stage})`);
}

/** Looks at it without taking it. */
export async function findFlow(tx: Tx, tokenHash: Buffer, stage: FlowStage): Promise<Flow | undefined> {
  return oneOf(tx, sql`find_oauth_flow(${tokenHash}, ${stage})`);
}

/** Device codes about which their service is to be asked now; no other replica gets them for a while. */
export async function claimPolls(tx: Tx, environment: Environment, now: Date, most: number): Promise<Flow[]> {
  return rowsOf(tx, sql`claim_oauth_polls(${environment}, ${now.toISOString()}::timestamptz, ${most})`);
}

/** Grants that are to be kept alive now; no other replica gets them for a while. */
export async function claimKeepAlives(
  tx: Tx,
  environment: Environment,
  now: Date,
  most: number,
): Promise<{ orgId: string; id: string }[]> {
  return tx.execute<{ orgId: string; id: string }>(sql`
    select org_id as "orgId", connection_id as "id"
    from claim_oauth_keep_alives(${environment}, ${now.toISOString()}::timestamptz, ${most})`);
}

/** Has the service asked again at this time. */
export async function pollLater(tx: Tx, flow: Flow, pollAt: Date, pollSeconds: number): Promise<void> {
  await tx.update(oauthFlows).set({ pollAt, pollSeconds }).where(isFlow(flow));
}

/** Ends a flow of the transaction's organisation; false if something else has. */
export async function deleteFlow(tx: Tx, flow: Flow): Promise<boolean> {
  const rows = await tx.delete(oauthFlows).where(isFlow(flow)).returning({ orgId: oauthFlows.orgId });
  return rows.length > 0;
}

/** The organisation's key that a flow's secret was sealed with, null if it was destroyed. The flow itself may be taken already. */
export async function keyOfFlow(tx: Tx, { orgId, kekVersion }: Flow): Promise<Buffer | null> {
  return wrappedKeyOf(tx, orgId, kekVersion ?? 0);
}

/** The organisation's name, for people. */
export async function nameOfOrganization(tx: Tx, orgId: string): Promise<string> {
  const [row] = await tx.select({ name: orgs.name }).from(orgs).where(eq(orgs.id, orgId));
  return row?.name ?? "";
}

function isFlow({ orgId, tokenHash }: Flow) {
  return and(eq(oauthFlows.orgId, orgId), eq(oauthFlows.tokenHash, tokenHash));
}

async function oneOf(tx: Tx, from: ReturnType<typeof sql>): Promise<Flow | undefined> {
  return (await rowsOf(tx, from))[0];
}

async function rowsOf(tx: Tx, from: ReturnType<typeof sql>): Promise<Flow[]> {
  // As JSON, since drizzle decodes columns of tables only, and these are a function's.
  const rows = await tx.execute<{ flow: string }>(
    sql`select row_to_json(flow)::text as flow from ${from} as flow`,
  );
  return rows.map(({ flow }) => fromJson(JSON.parse(flow) as FlowJson));
}

interface FlowJson {
  org_id: string;
  token_hash: string;
  stage: FlowStage;
  connection_id: string;
  user_id: string | null;
  api_key_id: string | null;
  browser_hash: string | null;
  kek_version: number | null;
  sealed: string | null;
  poll_at: string | null;
  poll_seconds: number | null;
  scopes: string[];
  return_to: string | null;
  expires_at: string;
}

function fromJson(row: FlowJson): Flow {
  return {
    orgId: row.org_id,
    tokenHash: bytesOf(row.token_hash),
    stage: row.stage,
    connectionId: row.connection_id,
    userId: row.user_id,
    apiKeyId: row.api_key_id,
    browserHash: row.browser_hash === null ? null : bytesOf(row.browser_hash),
    kekVersion: row.kek_version,
    sealed: row.sealed === null ? null : bytesOf(row.sealed),
    pollAt: row.poll_at === null ? null : new Date(row.poll_at),
    pollSeconds: row.poll_seconds,
    scopes: row.scopes,
    returnTo: row.return_to,
    expiresAt: new Date(row.expires_at),
  };
}

/** Of what Postgres writes as `\x` and hex digits. */
function bytesOf(text: string): Buffer {
  return Buffer.from(text.slice(2), "hex");
}
