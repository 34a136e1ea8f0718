import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { createServicePrincipals } from "#src/api-keys/service-principal.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { isConnectionId } from "./connection.ts";
import { createConnectionUse, type ConnectionUse } from "./connection-use.ts";
import { createCredentials, type OpenCredential } from "./credentials.ts";
import { ConnectionInactive, ConnectionNotFound, ServiceNotConnected } from "./errors.ts";
import { createConnectionService, type ConnectionParts } from "./service.ts";
import { createSealedLookup } from "./sealed-lookup.ts";
import { createOAuth, type OAuthShared } from "./oauth/oauth.ts";
import type { OAuthSweep } from "./oauth/sweep.ts";
import { findWithoutCredential, type CallableConnection, type SealedConnection } from "./store.ts";

/** A connection that may be called through, and what its calls carry. */
export interface OpenConnection {
  readonly connection: SealedConnection;
  readonly credential: OpenCredential;
}

/** Keeps connections and their credentials. */
export interface Connections extends Feature {
  /**
   * The connection that has the slug or the id, and its credential in the clear, which the caller wipes. A call that begins after
   * a change was answered sees it at once on the replica that answered; on others as soon as it is announced, and after
   * 5 s at the latest.
   */
  open(viewer: Viewer, ref: string): Promise<OpenConnection>;
  /** The same with another credential, after the service refused this one; undefined if there is no other. */
  another(opened: OpenConnection): Promise<OpenConnection | undefined>;
  readonly use: ConnectionUse;
  /** Keeps grants alive while nobody calls, once it is started. */
  readonly oauthSweep: OAuthSweep;
}

export async function createConnections(
  shared: Omit<ConnectionParts, "credentials" | "use" | "revoke"> &
    OAuthShared & { pepper: Pepper; callerServiceSlug: string },
): Promise<Connections> {
  const { database, keyring, log } = shared;
  const credentials = createCredentials(keyring, createServicePrincipals(shared));
  const use = createConnectionUse(database, log);
  const find = await createSealedLookup(shared);
  const oauth = createOAuth(shared);

  /** One that has no credential yet gets its first, if that takes no person. */
  async function findNew(viewer: Viewer, ref: string): Promise<SealedConnection | undefined> {
    const connection = await database.read(viewer.orgId, (tx) => findWithoutCredential(tx, viewer, ref));
    if (connection === undefined) return undefined;
    requireActive(connection);
    await oauth.refresh.obtain(connection);
    return find(viewer, ref);
  }

  return {
    services: [
      serve(ConnectionService, {
        ...createConnectionService({ ...shared, credentials, use, revoke: oauth.revoke }),
        startAuthorization: oauth.startAuthorization,
      }),
    ],
    pages: oauth.pages,
    oauthSweep: oauth.sweep,
    async open(viewer, ref) {
      const found = (await find(viewer, ref)) ?? (await findNew(viewer, ref));
      if (found === undefined) {
        throw isConnectionId(ref) ? new ConnectionNotFound() : new ServiceNotConnected();
      }
      requireActive(found);
      const connection = await oauth.refresh.fresh(found);
      requireCallable(connection);
      return { connection, credential: await credentials.open(connection) };
    },
    async another({ connection }) {
      const renewed = await oauth.refresh.refreshed(connection);
      return renewed && { connection: renewed, credential: await credentials.open(renewed) };
    },
    use,
    async close() {
      await Promise.all([use.close(), oauth.close()]);
    },
  };
}

/** Refuses calls through a connection that was switched off, before anything is done for them. */
function requireActive(connection: Pick<CallableConnection, "id" | "slug" | "active">): void {
  if (!connection.active) requireCallable({ ...connection, status: "ACTIVE" });
}

/** Refuses calls through a connection that was switched off, or that waits for somebody to sign in. */
export function requireCallable(connection: Pick<CallableConnection, "id" | "slug" | "active" | "status">): void {
  const { id, slug, active, status } = connection;
  if (!active || status !== "ACTIVE") throw new ConnectionInactive(slug ?? id, status);
}
