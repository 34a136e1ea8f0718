import type { Sealed } from "#src/crypto/keyring.ts";
import type { Tx } from "#src/db/database.ts";
import { and, asc, desc, eq, gt, inArray, notInArray, sql } from "#src/db/drizzle.cjs";
import { auditLog } from "#src/eventlog/event.ts";
import { auditSeq, findHead } from "#src/eventlog/store.ts";
import type { Viewer } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import type { Endpoint, EndpointSecret, EndpointSettings, Position } from "./endpoint.ts";
import { webhookCursors, webhookEndpoints, webhookParked, webhookSecrets } from "./schema.ts";

/** Stores a new endpoint, which begins behind its positions. Its secrets are stored by themselves. */
export async function insertEndpoint(tx: Tx, endpoint: Endpoint, headers: Sealed | undefined): Promise<void> {
  const { orgId, id, environment, createdAt } = endpoint;
  await tx.insert(webhookEndpoints).values({
    ...{ orgId, id, environment, createdAt, failures: 0 },
    ...settingsRow(endpoint),
    ...headersRow(endpoint, headers),
    // At once: something may have come behind the positions since they were read.
    dueAt: createdAt,
  });
  await insertCursors(tx, endpoint, endpoint.positions);
}

/** One endpoint of the organisation. */
export async function getEndpoint(tx: Tx, viewer: Viewer, id: string): Promise<Endpoint | undefined> {
  const rows = await tx.select().from(webhookEndpoints).where(isEndpoint(viewer, id));
  return (await withParts(tx, viewer, rows))[0];
}

/** Locks the row, so that two changes cannot both start from the same state. */
export async function getEndpointForUpdate(
  tx: Tx,
  viewer: Viewer,
  id: string,
): Promise<Endpoint | undefined> {
  const rows = await tx.select().from(webhookEndpoints).where(isEndpoint(viewer, id)).for("update");
  return (await withParts(tx, viewer, rows))[0];
}

/** How many endpoints the organisation has. */
export async function countEndpoints(tx: Tx, viewer: Viewer): Promise<number> {
  return await tx.$count(webhookEndpoints, inView(viewer));
}

/** The endpoints of the page, oldest first. */
export async function listEndpoints(tx: Tx, viewer: Viewer, page: PageRequest): Promise<Endpoint[]> {
  const rows = await tx
    .select()
    .from(webhookEndpoints)
    .where(and(inView(viewer), gt(webhookEndpoints.id, page.after)))
    .orderBy(asc(webhookEndpoints.id))
    .limit(page.limit);
  return withParts(tx, viewer, rows);
}

/**
 * Writes what may change of an endpoint, and has it looked at, unless it stands still or asked to be left alone. With its
 * new version, what is under way for it is not settled.
 */
export async function saveEndpoint(tx: Tx, endpoint: Endpoint): Promise<void> {
  const { state, updatedAt } = endpoint;
  const next = sql`greatest(${updatedAt.toISOString()}::timestamptz, ${webhookEndpoints.notBefore})`;
  await tx
    .update(webhookEndpoints)
    .set({ ...settingsRow(endpoint), dueAt: state === "paused" ? null : next })
    .where(isEndpoint(endpoint, endpoint.id));
}

/** Has the endpoint tried at once, as if it had never failed. */
export async function forgetFailures(tx: Tx, endpoint: Endpoint): Promise<void> {
  await tx
    .update(webhookEndpoints)
    .set({ failures: 0, failingSince: null, notBefore: null, dueAt: endpoint.updatedAt })
    .where(isEndpoint(endpoint, endpoint.id));
}

/** Stores the headers of its own in place of the previous ones; undefined for none. */
export async function saveHeaders(tx: Tx, endpoint: Endpoint, headers: Sealed | undefined): Promise<void> {
  await tx
    .update(webhookEndpoints)
    .set(headersRow(endpoint, headers))
    .where(isEndpoint(endpoint, endpoint.id));
}

/** Lets the endpoint go on behind these positions, a new chain in each log. */
export async function moveCursors(tx: Tx, endpoint: Endpoint, positions: readonly Position[]): Promise<void> {
  const logs = positions.map(({ log }) => log);
  await tx
    .delete(webhookCursors)
    .where(and(isOf(webhookCursors, endpoint), inArray(webhookCursors.log, logs)));
  await insertCursors(tx, endpoint, positions);
}

/** Forgets how far other logs than these were read, and what of them waits to be tried again. */
export async function keepLogs(tx: Tx, endpoint: Endpoint, logs: readonly string[]): Promise<void> {
  for (const table of [webhookCursors, webhookParked]) {
    await tx.delete(table).where(and(isOf(table, endpoint), notInArray(table.log, [...logs])));
  }
}

/** Deletes the endpoint with all that is its own. */
export async function deleteEndpoint(tx: Tx, viewer: Viewer, id: string): Promise<void> {
  await tx.delete(webhookEndpoints).where(isEndpoint(viewer, id));
}

/** Stores a secret of an endpoint, sealed. */
export async function insertSecret(
  tx: Tx,
  { orgId, id }: Pick<Endpoint, "orgId" | "id">,
  { version, createdAt, validUntil }: EndpointSecret,
  { kekVersion, bytes }: Sealed,
): Promise<void> {
  await tx.insert(webhookSecrets).values({
    ...{ orgId, endpointId: id, version, createdAt, validUntil: validUntil ?? null },
    ...{ kekVersion, sealed: bytes },
  });
}

/** Erases secrets that have ended, and notes until when the others are good. */
export async function saveSecrets(
  tx: Tx,
  endpoint: Pick<Endpoint, "orgId" | "id">,
  secrets: readonly EndpointSecret[],
): Promise<void> {
  const versions = secrets.map(({ version }) => version);
  await tx
    .delete(webhookSecrets)
    .where(and(isOf(webhookSecrets, endpoint), notInArray(webhookSecrets.version, versions)));
  for (const { version, validUntil } of secrets) {
    await tx
      .update(webhookSecrets)
      .set({ validUntil: validUntil ?? null })
      .where(and(isOf(webhookSecrets, endpoint), eq(webhookSecrets.version, version)));
  }
}

/** Where the logs end now. Of a log that does not exist yet, that is its beginning. */
export async function endsOf(tx: Tx, orgId: string, logs: readonly string[]): Promise<Position[]> {
  const positions: Position[] = [];
  for (const log of logs) {
    const seq = log === auditLog ? await auditSeq(tx, orgId) : (await findHead(tx, orgId, log))?.seq;
    positions.push({ log, seq: seq ?? 0 });
  }
  return positions;
}

async function insertCursors(
  tx: Tx,
  { orgId, id }: Pick<Endpoint, "orgId" | "id">,
  positions: readonly Position[],
): Promise<void> {
  if (positions.length === 0) return;
  // Where a chain of deliveries begins, none was before.
  const rows = positions.map(({ log, seq }) => ({ orgId, endpointId: id, log, seq, previous: null }));
  await tx.insert(webhookCursors).values(rows);
}

function settingsRow(endpoint: Endpoint) {
  const { url, description, types, pausedTypes, ordering, afterSchedule, format, maxInFlight } = endpoint;
  const { keepSuccesses, state, owner, version, updatedAt } = endpoint;
  return {
    ...{ url, description, ordering, afterSchedule, maxInFlight, keepSuccesses, state, version, updatedAt },
    types: [...types],
    pausedTypes: [...pausedTypes],
    body: format === "binary" ? ("binary" as const) : ("webhook" as const),
    contentType: format === "cloudevents" ? cloudEventsType : "application/json",
    perSecond: endpoint.perSecond ?? null,
    stateReason: endpoint.stateReason ?? null,
    ownerKeyId: owner.keyId,
    ownerUserId: owner.userId ?? null,
  };
}

function headersRow({ headerNames, headersVersion }: Endpoint, headers: Sealed | undefined) {
  return {
    ...{ headerNames: [...headerNames], headersVersion },
    sealedHeaders: headers?.bytes ?? null,
    headersKekVersion: headers?.kekVersion ?? null,
  };
}

const cloudEventsType = "application/cloudevents+json";

// A deployment keeps the endpoints of its own environment only, also where two share a database.
function inView({ orgId, environment }: Pick<Viewer, "orgId" | "environment">) {
  return and(eq(webhookEndpoints.orgId, orgId), eq(webhookEndpoints.environment, environment));
}

function isEndpoint(viewer: Pick<Viewer, "orgId" | "environment">, id: string) {
  return and(inView(viewer), eq(webhookEndpoints.id, id));
}

function isOf(
  table: typeof webhookCursors | typeof webhookParked | typeof webhookSecrets,
  { orgId, id }: Pick<Endpoint, "orgId" | "id">,
) {
  return and(eq(table.orgId, orgId), eq(table.endpointId, id));
}

type EndpointRow = typeof webhookEndpoints.$inferSelect;

/** The endpoints, each with its secrets, newest first, and its positions. */
async function withParts(tx: Tx, { orgId }: Viewer, rows: readonly EndpointRow[]): Promise<Endpoint[]> {
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  const { endpointId, version, createdAt, validUntil } = webhookSecrets;
  const secrets = await tx
    .select({ endpointId, version, createdAt, validUntil })
    .from(webhookSecrets)
    .where(and(eq(webhookSecrets.orgId, orgId), inArray(endpointId, ids)))
    .orderBy(desc(version));
  const { log, seq } = webhookCursors;
  const positions = await tx
    .select({ endpointId: webhookCursors.endpointId, log, seq })
    .from(webhookCursors)
    .where(and(eq(webhookCursors.orgId, orgId), inArray(webhookCursors.endpointId, ids)))
    .orderBy(asc(log));
  const secretsOf = Map.groupBy(secrets, (secret) => secret.endpointId);
  const positionsOf = Map.groupBy(positions, (position) => position.endpointId);
  return rows.map((row) => ({
    ...fromRow(row),
    secrets: (secretsOf.get(row.id) ?? []).map(({ version, createdAt, validUntil }) => ({
      ...{ version, createdAt, validUntil: validUntil ?? undefined },
    })),
    positions: (positionsOf.get(row.id) ?? []).map(({ log, seq }) => ({ log, seq })),
  }));
}

function fromRow(row: EndpointRow): Omit<Endpoint, "secrets" | "positions"> {
  const { orgId, id, environment, pausedTypes, headersVersion, state, version, createdAt, updatedAt } = row;
  return {
    ...{ orgId, id, environment, pausedTypes, headersVersion, state, version, createdAt, updatedAt },
    ...settingsFrom(row),
    stateReason: row.stateReason ?? undefined,
    owner: { keyId: row.ownerKeyId, userId: row.ownerUserId ?? undefined },
    failingSince: row.failingSince ?? undefined,
    lastSuccessAt: row.lastSuccessAt ?? undefined,
    lastFailureAt: row.lastFailureAt ?? undefined,
  };
}

function settingsFrom(row: EndpointRow): EndpointSettings {
  const { url, description, types, headerNames, ordering, afterSchedule, maxInFlight, keepSuccesses } = row;
  const document = row.contentType === cloudEventsType ? "cloudevents" : "json";
  return {
    ...{ url, description, types, headerNames, ordering, afterSchedule, maxInFlight, keepSuccesses },
    format: row.body === "binary" ? "binary" : document,
    perSecond: row.perSecond ?? undefined,
  };
}
