import {
  and,
  asc,
  desc,
  eq,
  getTableColumns,
  gt,
  inArray,
  isNull,
  notInArray,
  or,
} from "#src/db/drizzle.cjs";
import { hasShownTarget, type Sight } from "#src/connections/access.ts";
import type { Sealed } from "#src/crypto/keyring.ts";
import type { Tx } from "#src/db/database.ts";
import { logHeads } from "#src/eventlog/schema.ts";
import type { Caller } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import type { Channel, SecretVersion } from "./channel.ts";
import { channels, channelSecrets } from "./schema.ts";
import { insertSource, sourceStates } from "./sources/state.ts";

/** Stores a new channel. Its log is made in the same transaction. */
export async function insertChannel(tx: Tx, channel: Channel): Promise<void> {
  const { orgId, id, environment, name, kind, config, state, version, createdBy } = channel;
  await tx.insert(channels).values({
    ...{ orgId, id, environment, name, kind, config, state, version, createdBy },
    connectionId: channel.connectionId ?? null,
    stateReason: channel.stateReason ?? null,
    segmentHash: channel.segmentHash ?? null,
    createdAt: channel.createdAt,
    updatedAt: channel.updatedAt,
  });
  if (["sse", "poll"].includes(kind)) await insertSource(tx, orgId, id, channel.createdAt);
}

/** Stores a secret that senders prove themselves by from now on. */
export async function insertSecret(
  tx: Tx,
  { orgId, id: channelId }: Pick<Channel, "orgId" | "id">,
  { version, createdAt }: SecretVersion,
  { kekVersion, bytes: sealed }: Sealed,
): Promise<void> {
  await tx
    .insert(channelSecrets)
    .values({ orgId, channelId, version, kekVersion, sealed, validUntil: null, createdAt });
}

/** Stores what can change of a channel. */
export async function saveChannel(tx: Tx, channel: Channel): Promise<void> {
  const { orgId, id, name, config, state, version, updatedAt } = channel;
  await tx
    .update(channels)
    .set({
      ...{ name, config, state, version, updatedAt },
      connectionId: channel.connectionId ?? null,
      stateReason: channel.stateReason ?? null,
      segmentHash: channel.segmentHash ?? null,
    })
    .where(and(eq(channels.orgId, orgId), eq(channels.id, id)));
}

/** Stores until when the secrets are good that were there before, and forgets those whose grace is over. */
export async function saveGraces(tx: Tx, { orgId, id, secrets }: Channel): Promise<void> {
  const kept = secrets.map(({ version }) => version);
  const ofChannel = and(eq(channelSecrets.orgId, orgId), eq(channelSecrets.channelId, id));
  await tx.delete(channelSecrets).where(and(ofChannel, notInArray(channelSecrets.version, kept)));
  for (const { version, validUntil } of secrets) {
    if (validUntil === undefined) continue;
    await tx
      .update(channelSecrets)
      .set({ validUntil })
      .where(and(ofChannel, eq(channelSecrets.version, version)));
  }
}

/** One channel that the caller may know of. */
export async function getChannel(tx: Tx, caller: Caller, id: string): Promise<Channel | undefined> {
  const rows = await selectChannels(tx).where(and(isShown(tx, caller), eq(channels.id, id)));
  return (await withSecrets(tx, caller, rows))[0];
}

/** Whether the caller may know of the channel. */
export async function isShownChannel(tx: Tx, caller: Sight, id: string): Promise<boolean> {
  const found = await tx
    .select({ id: channels.id })
    .from(channels)
    .where(and(isShown(tx, caller), eq(channels.id, id)));
  return found.length > 0;
}

/** Locks the row, so that two changes cannot both start from the same state. */
export async function getChannelForUpdate(tx: Tx, caller: Caller, id: string): Promise<Channel | undefined> {
  const rows = await selectChannels(tx)
    .where(and(isShown(tx, caller), eq(channels.id, id)))
    .for("update", { of: channels });
  return (await withSecrets(tx, caller, rows))[0];
}

/** Those that the caller may know of, in the order of their ids. */
export async function listChannels(tx: Tx, caller: Caller, page: PageRequest): Promise<Channel[]> {
  const rows = await selectChannels(tx)
    .where(and(isShown(tx, caller), gt(channels.id, page.after)))
    .orderBy(asc(channels.id))
    .limit(page.limit);
  return withSecrets(tx, caller, rows);
}

/** Deletes the channel with its secrets. */
export async function deleteChannel(tx: Tx, { orgId, id }: Pick<Channel, "orgId" | "id">): Promise<void> {
  await tx.delete(channels).where(and(eq(channels.orgId, orgId), eq(channels.id, id)));
}

const { seq: lastSeq, retentionSeconds, dedupSeconds } = logHeads;

function selectChannels(tx: Tx) {
  return tx
    .select({ ...getTableColumns(channels), lastSeq, retentionSeconds, dedupSeconds })
    .from(channels)
    .innerJoin(logHeads, and(eq(logHeads.orgId, channels.orgId), eq(logHeads.log, channels.id)));
}

type Row = typeof channels.$inferSelect & Pick<Channel, "lastSeq" | "retentionSeconds" | "dedupSeconds">;

function isShown(tx: Tx, caller: Sight) {
  const { orgId, environment } = caller;
  const named = hasShownTarget(tx, caller, channels.connectionId);
  return and(
    eq(channels.orgId, orgId),
    eq(channels.environment, environment),
    named && or(isNull(channels.connectionId), named),
  );
}

async function withSecrets(tx: Tx, { orgId }: Caller, rows: readonly Row[]): Promise<Channel[]> {
  if (rows.length === 0) return [];
  const { channelId, version, createdAt, validUntil } = channelSecrets;
  const ids = rows.map(({ id }) => id);
  const secrets = await tx
    .select({ channelId, version, createdAt, validUntil })
    .from(channelSecrets)
    .where(and(eq(channelSecrets.orgId, orgId), inArray(channelId, ids)))
    .orderBy(desc(version));
  const ofChannel = Map.groupBy(secrets, (secret) => secret.channelId);
  const states = await sourceStates(tx, orgId, ids);
  return rows.map((row) => ({
    ...row,
    sourceState: states.get(row.id),
    connectionId: row.connectionId ?? undefined,
    stateReason: row.stateReason ?? undefined,
    segmentHash: row.segmentHash ?? undefined,
    createdBy: row.createdBy ?? "",
    secrets: (ofChannel.get(row.id) ?? []).map((secret) => ({
      version: secret.version,
      createdAt: secret.createdAt,
      validUntil: secret.validUntil ?? undefined,
    })),
  }));
}
