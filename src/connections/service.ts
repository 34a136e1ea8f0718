import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { wrappedKeyOf } from "#src/crypto/org-keys.ts";
import type { Database } from "#src/db/database.ts";
import type { Change } from "#src/audit/change.ts";
import type { Describe } from "#src/operations/operations.ts";
import type { Integrations } from "#src/integrations/integrations.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import { requireDeletable, requireVisible } from "./access.ts";
import { appendAll } from "./append-all.ts";
import { createCheckCredential } from "./check-credential.ts";
import { endGrant } from "./end-grant.ts";
import type { ConnectionUse } from "./connection-use.ts";
import { createCreateConnection } from "./create.ts";
import { credentialDetails, type Credentials } from "./credentials.ts";
import { toMessage, toServiceConnection } from "./messages.ts";
import type { Refresh } from "./oauth/refresh.ts";
import type { Revoke } from "./oauth/revoke.ts";
import { connectionStatuses } from "./schema.ts";
import {
  deleteConnection,
  getConnection,
  getConnectionForUpdate,
  getCredential,
  listConnections,
  listNamed,
} from "./store.ts";
import { createUpdateConnection } from "./update.ts";
import { createUpsertServiceConnection } from "./upsert.ts";
import type { Verify } from "./verify.ts";

const defaultPageSize = 1000;

/** What keeping connections needs. */
export interface ConnectionParts {
  readonly database: Database;
  readonly change: Change;
  readonly credentials: Credentials;
  readonly integrations: Integrations;
  readonly describe: Describe;
  readonly outbound: Pick<Outbound, "checkBaseUrl">;
  readonly verify: Verify;
  /** Counts what replicas are to limit together. */
  readonly callLimiter: RateLimiter;
  readonly use: ConnectionUse;
  readonly revoke: Revoke;
  /** The connection with an access token that is good for a while yet. */
  readonly fresh: Refresh["fresh"];
  readonly now: () => Date;
}

/**
 * The methods that keep connections; those that call through them are in `src/calls`, and those that say how they are in
 * `src/health`.
 */
export type KeptConnections = Omit<
  ServiceImpl<typeof ConnectionService>,
  | "callService"
  | "callAction"
  | "planCall"
  | "startAuthorization"
  | "testConnection"
  | "getConnectionHealth"
  | "watchConnections"
>;

/** Keeps connections. See the contract, `connection_service.proto`. */
export function createConnectionService(parts: ConnectionParts): KeptConnections {
  const { database, change, credentials, use, now } = parts;

  return {
    async listConnections(request, context) {
      const caller = callerOf(context);
      await use.flush(caller.orgId);
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listNamed(tx, caller, rows),
          (connection) => connection.id,
        ),
      );
      return {
        connections: page.items.map((connection) => toServiceConnection(connection, now())),
        ...nextPage(page),
      };
    },

    async listAllConnections(request, context) {
      const caller = callerOf(context);
      await use.flush(caller.orgId);
      const { integration, tag, owner, status } = request;
      const filter = { integration, tag, owner, status: connectionStatuses.find((one) => one === status) };
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listConnections(tx, caller, filter, rows),
          (connection) => connection.id,
        ),
      );
      return { connections: page.items.map((connection) => toMessage(connection, now())), ...nextPage(page) };
    },

    upsertServiceConnection: createUpsertServiceConnection(parts),
    createConnection: createCreateConnection(parts),
    updateConnection: createUpdateConnection(parts),
    checkCredential: createCheckCredential(parts),

    async getConnection({ id }, context) {
      const caller = callerOf(context);
      await use.flush(caller.orgId);
      const found = await database.read(caller.orgId, (tx) => getConnection(tx, caller, id));
      const connection = requireVisible(caller, found);
      return { connection: toMessage(connection, now()) };
    },

    async deleteConnection({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const deleted = await change(call, async (tx) => {
        const known = requireDeletable(caller, await getConnectionForUpdate(tx, caller, id));
        const before = await getCredential(tx, caller.orgId, id);
        const wrappedKey = before ? await wrappedKeyOf(tx, caller.orgId, before.sealed.kekVersion) : null;
        await deleteConnection(tx, caller, id);
        const events = await credentials.end(tx, caller, before);
        await appendAll(tx, call, events, {
          action: "connection.delete",
          target: id,
          details: {
            serviceSlug: known.slug,
            baseUrl: known.baseUrl,
            ...credentialDetails(before, undefined),
          },
        });
        return { connection: known, credential: before, wrappedKey };
      });
      const revocation = await endGrant(parts, call, deleted);
      return revocation === undefined ? {} : { revocation: revocation.outcome };
    },
  };
}
