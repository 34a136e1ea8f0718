import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionSchema } from "#gen/patchbay/connections/v1/connection_pb.js";
import type {
  ConnectionService,
  UpdateConnectionRequest,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { append, type NewAuditEvent } from "#src/audit/append.ts";
import type { Database, Tx } from "#src/db/database.ts";
import type { Change } from "#src/audit/change.ts";
import { parseSlug } from "#src/integrations/slug.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { callerOf, callOf, type Call } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { changedFields, jsonName } from "#src/platform/field-mask.ts";
import { newId } from "#src/platform/ids.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import {
  requireChangeable,
  requireDeletable,
  requireUsable,
  requireVisible,
  requireWithinRights,
} from "./access.ts";
import {
  isUnhealthy,
  plainConnection,
  requireWithin,
  requireSendable,
  type Connection,
} from "./connection.ts";
import type { ConnectionUse } from "./connection-use.ts";
import {
  credentialDetails,
  wantedCredential,
  type Credentials,
  type StoreCredential,
} from "./credentials.ts";
import {
  deleteConnection,
  findBySlugForUpdate,
  getConnection,
  getConnectionForUpdate,
  getCredential,
  insertConnection,
  listConnections,
  lockSlug,
  saveConnection,
} from "./store.ts";

const defaultPageSize = 1000;

/** What keeping connections needs. */
export interface ConnectionParts {
  readonly database: Database;
  readonly change: Change;
  readonly credentials: Credentials;
  readonly outbound: Pick<Outbound, "checkBaseUrl">;
  readonly use: ConnectionUse;
  readonly now: () => Date;
}

/** The methods that keep connections; those that call through them are in `src/calls`. */
export type KeptConnections = Omit<
  ServiceImpl<typeof ConnectionService>,
  "callService" | "callAction" | "planCall" | "testConnection"
>;

/** Keeps connections. See the contract, `connection_service.proto`. */
export function createConnectionService(parts: ConnectionParts): KeptConnections {
  const { database, change, credentials, outbound, use, now } = parts;

  return {
    async listConnections(request, context) {
      const caller = callerOf(context);
      await use.flush(caller.orgId);
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listConnections(tx, caller, rows),
          (connection) => connection.id,
        ),
      );
      return {
        connections: page.items.map((connection) => toMessage(connection, now())),
        ...nextPage(page),
      };
    },

    async upsertServiceConnection(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const { orgId, environment } = caller;
      const slug = parseSlug(request.serviceSlug);
      const baseUrl = outbound.checkBaseUrl(request.baseUrl);
      const wanted = wantedCredential(slug, request);

      const upsert = async (tx: Tx, store: StoreCredential) => {
        await lockSlug(tx, caller, slug);
        const known = await findBySlugForUpdate(tx, caller, slug);
        const before = known && (await getCredential(tx, orgId, known.id));
        const at = now();
        const connection = known
          ? { ...known, baseUrl }
          : {
              orgId,
              environment,
              id: newId("scn", at),
              slug,
              baseUrl,
              active: true,
              createdAt: at,
              integration: slug,
              ...plainConnection,
            };
        requireWithinRights(caller, connection);
        if (known) requireUsable(caller, known);
        await (known ? saveConnection(tx, connection, at) : insertConnection(tx, connection));
        const { stored, events } = await store(tx, connection, before);
        await appendAll(tx, call, events, {
          action: known ? "connection.upsert" : "connection.create",
          target: connection.id,
          details: {
            serviceSlug: slug,
            baseUrl: { before: known?.baseUrl ?? null, after: baseUrl },
            ...credentialDetails(before, stored),
          },
        });
        return { created: known === undefined, connection, apiKeyHash: stored.fingerprint };
      };
      const { created, connection, apiKeyHash } = await credentials.storing(caller, wanted, (store) =>
        change(call, (tx) => upsert(tx, store)),
      );
      return { created, connection: { ...toMessage(connection, now()), apiKeyHash } };
    },

    async getConnection({ id }, context) {
      const caller = callerOf(context);
      await use.flush(caller.orgId);
      const found = await database.read(caller.orgId, (tx) => getConnection(tx, caller, id));
      const connection = requireVisible(caller, found);
      return { connection: toMessage(connection, now()) };
    },

    async updateConnection(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const changes = changesFrom(request);
      const baseUrl = changes.baseUrl && outbound.checkBaseUrl(changes.baseUrl);
      const { apiKey } = changes;
      if (apiKey !== undefined) requireSendable(apiKey);

      const update = async (tx: Tx, store?: StoreCredential) => {
        const known = requireChangeable(caller, await getConnectionForUpdate(tx, caller, request.id));
        const before = await getCredential(tx, caller.orgId, known.id);
        const next = { ...known, baseUrl: baseUrl ?? known.baseUrl, active: changes.active ?? known.active };
        if (store === undefined) requireWithin(known, next.baseUrl, before.principalKeyId);
        await saveConnection(tx, next, now());
        const replaced = await store?.(tx, next, before);
        await appendAll(tx, call, replaced?.events ?? [], {
          action: "connection.update",
          target: known.id,
          details: {
            serviceSlug: known.slug,
            baseUrl: { before: known.baseUrl, after: next.baseUrl },
            active: { before: known.active, after: next.active },
            ...credentialDetails(before, replaced?.stored ?? before),
          },
        });
        return { updated: next, replaced };
      };
      const { updated, replaced } = await (apiKey === undefined
        ? change(call, update)
        : credentials.storing(caller, { apiKey }, (store) => change(call, (tx) => update(tx, store))));
      const apiKeyHash = replaced?.stored.fingerprint;
      return {
        connection: { ...toMessage(updated, now()), ...(apiKeyHash !== undefined && { apiKeyHash }) },
      };
    },

    async deleteConnection({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      await change(call, async (tx) => {
        const known = requireDeletable(caller, await getConnectionForUpdate(tx, caller, id));
        const before = await getCredential(tx, caller.orgId, id);
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
      });
      return {};
    },
  };
}

/** Called last in a transaction. The connection's own event comes last of all. */
async function appendAll(tx: Tx, call: Call, events: readonly NewAuditEvent[], last: NewAuditEvent) {
  for (const event of [...events, last]) await append(tx, call, event);
}

interface ConnectionChanges {
  baseUrl?: string | undefined;
  apiKey?: string | undefined;
  active?: boolean | undefined;
}

function changesFrom(request: UpdateConnectionRequest): ConnectionChanges {
  const { baseUrl, apiKey, active } = request;
  const given = { base_url: baseUrl, api_key: apiKey, active };
  const fields = changedFields(
    request.updateMask,
    { base_url: baseUrl !== undefined, api_key: apiKey !== undefined, active: active !== undefined },
    (field) => new InvalidRequest(`${field}: cannot be changed; change baseUrl, apiKey or active`),
  );
  for (const field of fields) {
    if (given[field] === undefined) {
      throw new InvalidRequest(`${jsonName(field)}: cannot be cleared; give a value`);
    }
  }
  return {
    ...(fields.has("base_url") && { baseUrl }),
    ...(fields.has("api_key") && { apiKey }),
    ...(fields.has("active") && { active }),
  };
}

function toMessage(connection: Connection, now: Date): MessageInitShape<typeof ConnectionSchema> {
  return {
    id: connection.id,
    serviceSlug: connection.slug ?? "",
    baseUrl: connection.baseUrl,
    active: connection.active,
    createdAt: timestampFromDate(connection.createdAt),
    ...(connection.lastHealthyAt && { lastHealthyAt: timestampFromDate(connection.lastHealthyAt) }),
    ...(connection.lastUsedAt && { lastUsedAt: timestampFromDate(connection.lastUsedAt) }),
    ...(isUnhealthy(connection, now) && { unhealthy: true }),
  };
}
