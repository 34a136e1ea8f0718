import { and, asc, eq } from "#src/db/drizzle.cjs";
import type { Sealed } from "#src/crypto/keyring.ts";
import { isKeyOf } from "#src/crypto/org-keys.ts";
import { orgKeys } from "#src/crypto/schema.ts";
import type { Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { oauthClients } from "./schema.ts";

/** What an organisation is registered as at a service, its secret sealed. */
export interface StoredClient {
  readonly clientId: string;
  /** The token URL that the secret was stored for. */
  readonly boundTo: string;
  /** Counts up with each client that is stored. */
  readonly version: number;
  /** Undefined for a public client. */
  readonly secret: { readonly sealed: Sealed; readonly fingerprint: string } | undefined;
}

/** A client, and the key that opens its secret: null if that was destroyed, or if there is no secret. */
export interface SealedClient extends StoredClient {
  readonly wrappedKey: Buffer | null;
}

/** The auth method that a client is for. */
export interface ClientPlace {
  readonly integration: string;
  readonly authMethod: string;
}

/** The client for the auth method. */
export async function findClient(
  tx: Tx,
  viewer: Viewer,
  place: ClientPlace,
): Promise<SealedClient | undefined> {
  const [row] = await tx
    .select({ client: oauthClients, wrappedKey: orgKeys.wrappedKey })
    .from(oauthClients)
    .leftJoin(orgKeys, isKeyOf(oauthClients.orgId, oauthClients.kekVersion))
    .where(isAt(viewer, place));
  return row && { ...fromRow(row.client), wrappedKey: row.wrappedKey };
}

/** Locks the row, so that two changes cannot both start from the same state. */
export async function findClientForUpdate(
  tx: Tx,
  viewer: Viewer,
  place: ClientPlace,
): Promise<StoredClient | undefined> {
  const [row] = await tx.select().from(oauthClients).where(isAt(viewer, place)).for("update");
  return row && fromRow(row);
}

/** The clients of the integration, in the order of their auth methods. */
export async function listClients(tx: Tx, viewer: Viewer, integration: string) {
  const rows = await tx
    .select()
    .from(oauthClients)
    .where(isOf(viewer, integration))
    .orderBy(asc(oauthClients.authMethod));
  return rows.map((row) => ({ authMethod: row.authMethod, client: fromRow(row) }));
}

/** Stores the client in place of the previous one. */
export async function putClient(
  tx: Tx,
  viewer: Viewer,
  place: ClientPlace,
  client: StoredClient,
  at: Date,
): Promise<void> {
  const { orgId, environment } = viewer;
  const { clientId, boundTo, version, secret } = client;
  const values = {
    ...{ clientId, boundTo, version },
    kekVersion: secret?.sealed.kekVersion ?? null,
    sealed: secret?.sealed.bytes ?? null,
    fingerprint: secret?.fingerprint ?? null,
    updatedAt: at,
  };
  await tx
    .insert(oauthClients)
    .values({ orgId, environment, ...place, ...values })
    .onConflictDoUpdate({
      target: [
        oauthClients.orgId,
        oauthClients.environment,
        oauthClients.integration,
        oauthClients.authMethod,
      ],
      set: values,
    });
}

/** Deletes the client, and with it its sealed secret. */
export async function deleteClient(tx: Tx, viewer: Viewer, place: ClientPlace): Promise<void> {
  await tx.delete(oauthClients).where(isAt(viewer, place));
}

/** Deletes all clients of the integration, in each environment: the definition is of all of them, too. */
export async function deleteClients(tx: Tx, orgId: string, integration: string): Promise<void> {
  await tx
    .delete(oauthClients)
    .where(and(eq(oauthClients.orgId, orgId), eq(oauthClients.integration, integration)));
}

function isOf({ orgId, environment }: Viewer, integration: string) {
  return and(
    eq(oauthClients.orgId, orgId),
    eq(oauthClients.environment, environment),
    eq(oauthClients.integration, integration),
  );
}

function isAt(viewer: Viewer, { integration, authMethod }: ClientPlace) {
  return and(isOf(viewer, integration), eq(oauthClients.authMethod, authMethod));
}

function fromRow(row: typeof oauthClients.$inferSelect): StoredClient {
  const { clientId, boundTo, version, kekVersion, sealed, fingerprint } = row;
  const secret =
    kekVersion === null || sealed === null || fingerprint === null
      ? undefined
      : { sealed: { kekVersion, bytes: sealed }, fingerprint };
  return { clientId, boundTo, version, secret };
}
