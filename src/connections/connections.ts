import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { createServicePrincipals } from "#src/api-keys/service-principal.ts";
import { createFingerprint } from "#src/crypto/fingerprint.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Caller, Viewer } from "#src/platform/caller.ts";
import type { Loop } from "#src/platform/loop.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { isVisible, requirePermitted, requireUsable } from "./access.ts";
import { isConnectionId } from "./connection.ts";
import { createConnectionUse, type ConnectionUse } from "./connection-use.ts";
import { createCredentials, type OpenCredential } from "./credentials.ts";
import { ConnectionInactive, ConnectionNotFound, ServiceNotConnected } from "./errors.ts";
import { createConnectionService, type ConnectionParts } from "./service.ts";
import { createProbe } from "./probe.ts";
import { createProbeConnection, type ProbeConnection } from "./probe-connection.ts";
import { createSealedLookup } from "./sealed-lookup.ts";
import { createOAuth, type OAuthShared } from "./oauth/oauth.ts";
import { oauth2Of } from "./oauth/party.ts";
import { requireAuthorized } from "./oauth/refresh.ts";
import { findSealed, integrationsNamed, type CallableConnection, type SealedConnection } from "./store.ts";
import { createVerify } from "./verify.ts";

/** A connection that may be called through, and what its calls carry. */
export interface OpenConnection {
  readonly connection: SealedConnection;
  readonly credential: OpenCredential;
}

/** What a connection is opened for. */
export interface IntendedCall {
  readonly method: string;
  /** As it is sent, behind the base URL. */
  readonly path: string;
}

/** Keeps connections and their credentials. */
export interface Connections extends Feature {
  /** Whose operations a service has that the caller knows a connection to: by the slug of that, or by the integration. */
  integrationNamed(caller: Caller, name: string): Promise<string>;
  /** The connection that has the slug or the id, if it may be called through, and the caller may use it. */
  usable(caller: Caller, ref: string): Promise<SealedConnection>;
  /**
   * The connection that has the slug or the id, and its credential in the clear, which must be wiped, for a call that
   * the caller may make. A call that begins after a change was answered sees it at once on the replica that answered;
   * on others as soon as it is announced, and after 5 s at the latest.
   */
  open(caller: Caller, ref: string, call: IntendedCall): Promise<OpenConnection>;
  /**
   * What a call that was refused with 401 is tried again with, once: a renewed access token, or the fallback of a
   * rotated credential. Undefined if there is neither. It must be wiped as well.
   */
  another(opened: OpenConnection): Promise<OpenConnection | undefined>;
  /**
   * The connection that has the id, and its credential, which must be wiped, for what is done while nobody calls.
   * Undefined if it is gone, private to its owner, or has no credential.
   */
  openUnattended(
    viewer: Pick<Viewer, "orgId" | "environment">,
    id: string,
  ): Promise<OpenConnection | undefined>;
  /** Asks a connection's service for a sign of life. */
  readonly probe: ProbeConnection;
  readonly use: ConnectionUse;
  /** Keeps grants alive while nobody calls, once it is started. */
  readonly oauthSweep: Loop;
}

export async function createConnections(
  shared: Omit<ConnectionParts, "credentials" | "revoke" | "fresh" | "use" | "verify"> &
    Omit<OAuthShared, "oauthClients"> & { outbound: Outbound; pepper: Pepper; callerServiceSlug: string },
): Promise<Connections> {
  const { database, pepper, log, now } = shared;
  const principals = createServicePrincipals(shared);
  const credentials = createCredentials({ ...shared, principals, fingerprint: createFingerprint(pepper) });
  const probe = createProbe(shared.outbound);
  const use = createConnectionUse(database, log);
  const find = await createSealedLookup(shared);
  const oauth = createOAuth({ ...shared, oauthClients: shared.integrations.oauthClients });

  // Judged for each call: what is remembered of a connection is the same for every caller.
  async function usable(caller: Caller, ref: string): Promise<SealedConnection> {
    const missing = isConnectionId(ref) ? ConnectionNotFound : ServiceNotConnected;
    const connection = requireUsable(caller, await find(caller, ref), missing);
    requireCallable(connection);
    return connection;
  }

  async function openWith(stored: SealedConnection): Promise<OpenConnection | undefined> {
    const connection = await oauth.refresh.fresh(stored);
    if (connection.credential === undefined) return undefined;
    return { connection, credential: await credentials.open(connection) };
  }

  return {
    services: [
      serve(ConnectionService, {
        ...createConnectionService({
          ...{ ...shared, credentials, verify: createVerify(probe), use },
          ...{ revoke: oauth.revoke, fresh: oauth.refresh.fresh },
        }),
        startAuthorization: oauth.startAuthorization,
      }),
    ],
    pages: oauth.pages,
    oauthSweep: oauth.sweep,
    async integrationNamed(caller, name) {
      const connection = await find(caller, name);
      if (connection !== undefined && isVisible(caller, connection)) return connection.integration;
      // There may be others, which have no slug or another one.
      const found = await database.read(caller.orgId, (tx) => integrationsNamed(tx, caller, [name]));
      const integration = found.get(name);
      if (integration === undefined) throw new ServiceNotConnected();
      return integration;
    },
    usable,
    async open(caller, ref, call) {
      const stored = await usable(caller, ref);
      requirePermitted(caller, stored, call);
      const connection = await oauth.refresh.fresh(stored);
      return { connection, credential: await credentials.open(connection) };
    },
    async openUnattended({ orgId, environment }, id) {
      const viewer = { orgId, environment, userId: undefined };
      const stored = await database.read(orgId, (tx) => findSealed(tx, viewer, id));
      if (stored?.visibility !== "org") return undefined;
      requireCallable(stored);
      return openWith(stored);
    },
    async another({ connection }) {
      const renewed = await oauth.refresh.refreshed(connection);
      if (renewed !== undefined) return { connection: renewed, credential: await credentials.open(renewed) };
      const { fallback } = connection;
      if (fallback === undefined || fallback.validUntil <= now()) return undefined;
      const { recipe, params } = fallback;
      const before = { ...connection, recipe, params, fallback: undefined };
      return { connection: before, credential: await credentials.openFallback(connection, fallback) };
    },
    probe: createProbeConnection(
      probe,
      async (viewer, { id, evenInactive }) => {
        // Asked anew: what a sweep probes each minute is not worth remembering.
        const stored = await database.read(viewer.orgId, (tx) => findSealed(tx, viewer, id));
        // A sweep may come to it only minutes after it found it active.
        if (stored === undefined || !(stored.active || evenInactive)) return undefined;
        return openWith(stored);
      },
      (connection) => oauth.refresh.refused(connection),
    ),
    use,
    async close() {
      await Promise.all([use.close(), oauth.close()]);
    },
  };
}

/** Refuses calls through a connection that was switched off, or that waits for somebody to sign in. */
function requireCallable(connection: CallableConnection): void {
  const { active, status } = connection;
  if (active && oauth2Of(connection) !== undefined) return requireAuthorized(connection);
  if (!active || status !== "ACTIVE") throw new ConnectionInactive(nameOf(connection), status);
}

function nameOf({ id, slug }: Pick<CallableConnection, "id" | "slug">): string {
  return slug ?? id;
}
