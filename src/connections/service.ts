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
import { TooManyCalls } from "#src/outbound/errors.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { callerOf, callOf, scopeOf, type Call, type Scope } from "#src/platform/caller.ts";
import { InvalidRequest, ServiceError } from "#src/platform/errors.ts";
import { changedFields, jsonName } from "#src/platform/field-mask.ts";
import { newId } from "#src/platform/ids.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import type { UsageLog } from "#src/platform/usage-log.ts";
import { isUnhealthy, requireSameOrigin, requireSendable, type Connection } from "./connection.ts";
import { credentialDetails, wantedCredential, type CatalogScopes, type Credentials } from "./credentials.ts";
import { ConnectionInactive, ConnectionNotFound, ServiceNotConnected } from "./errors.ts";
import { queryPairs, replyBody, requestBody } from "./exchange.ts";
import type { Probe } from "./probe.ts";
import { parseSlug } from "./slug.ts";
import {
  deleteConnection,
  findBySlug,
  findBySlugForUpdate,
  getConnection,
  getConnectionForUpdate,
  getCredential,
  insertConnection,
  listConnections,
  lockSlug,
  recordHealthy,
  saveConnection,
} from "./store.ts";

const defaultPageSize = 1000;

/** Keeps connections and calls through them. See the contract, `connection_service.proto`. */
export function createConnectionService(parts: {
  database: Database;
  credentials: Credentials;
  catalogScopes: CatalogScopes;
  outbound: Outbound;
  probe: Probe;
  /** Calls made through connections. */
  usage: UsageLog;
  /** Good answers of connected services. */
  healthy: UsageLog;
  now: () => Date;
}): ServiceImpl<typeof ConnectionService> {
  const { database, credentials, catalogScopes, outbound, probe, usage, healthy, now } = parts;

  /** The connection that has the slug, and its credential in the clear. */
  async function openBySlug(scope: Scope, slug: string) {
    return database.read(scope.orgId, async (tx) => {
      const connection = await findBySlug(tx, scope, slug);
      if (connection === undefined) throw new ServiceNotConnected();
      if (!connection.active) throw new ConnectionInactive(slug);
      return { connection, credential: await credentials.open(tx, connection) };
    });
  }

  /** Writes what this replica still holds in memory, so that a read shows calls that came before it. */
  async function settleUse(orgId: string) {
    await Promise.all([usage.flush(orgId), healthy.flush(orgId)]);
  }

  return {
    async listConnections(request, context) {
      const scope = scopeOf(context);
      await settleUse(scope.orgId);
      const page = await database.read(scope.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listConnections(tx, scope, rows),
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
      const scope = scopeOf(context);
      const slug = parseSlug(request.serviceSlug);
      const baseUrl = outbound.checkBaseUrl(request.baseUrl);
      const wanted = wantedCredential(slug, request, catalogScopes);

      const { created, connection, apiKeyHash } = await database.change(scope.orgId, async (tx) => {
        await lockSlug(tx, scope, slug);
        const known = await findBySlugForUpdate(tx, scope, slug);
        const before = known && (await getCredential(tx, scope.orgId, known.id));
        const at = now();
        const connection = known
          ? { ...known, baseUrl }
          : { ...scope, id: newId("scn", at), slug, baseUrl, active: true, createdAt: at, ...neverUsed };
        await (known ? saveConnection(tx, connection, at) : insertConnection(tx, connection));
        const { stored, events } = await credentials.replace(tx, caller, connection, wanted, before);
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
      });
      return { created, connection: { ...toMessage(connection, now()), apiKeyHash } };
    },

    async getConnection({ id }, context) {
      const scope = scopeOf(context);
      await settleUse(scope.orgId);
      const connection = await database.read(scope.orgId, (tx) => getConnection(tx, scope, id));
      if (connection === undefined) throw new ConnectionNotFound();
      return { connection: toMessage(connection, now()) };
    },

    async updateConnection(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const scope = scopeOf(context);
      const changes = changesFrom(request);
      const baseUrl = changes.baseUrl && outbound.checkBaseUrl(changes.baseUrl);
      const { apiKey } = changes;
      if (apiKey !== undefined) requireSendable(apiKey);

      const { updated, replaced } = await database.change(scope.orgId, async (tx) => {
        const known = await getConnectionForUpdate(tx, scope, request.id);
        if (known === undefined) throw new ConnectionNotFound();
        const before = await getCredential(tx, scope.orgId, known.id);
        const next = { ...known, baseUrl: baseUrl ?? known.baseUrl, active: changes.active ?? known.active };
        if (apiKey === undefined) requireSameOrigin(before, next.baseUrl);
        await saveConnection(tx, next, now());
        const replaced =
          apiKey === undefined ? undefined : await credentials.replace(tx, caller, next, { apiKey }, before);
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
      });
      const apiKeyHash = replaced?.stored.fingerprint;
      return {
        connection: { ...toMessage(updated, now()), ...(apiKeyHash !== undefined && { apiKeyHash }) },
      };
    },

    async deleteConnection({ id }, context) {
      const call = callOf(context);
      const scope = scopeOf(context);
      await database.change(scope.orgId, async (tx) => {
        const known = await getConnectionForUpdate(tx, scope, id);
        if (known === undefined) throw new ConnectionNotFound();
        const before = await getCredential(tx, scope.orgId, id);
        await deleteConnection(tx, scope, id);
        const events = await credentials.end(tx, known, before);
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

    async testConnection({ id }, context) {
      const call = callOf(context);
      const scope = scopeOf(context);
      const connection = await database.read(scope.orgId, (tx) => getConnection(tx, scope, id));
      if (connection === undefined) throw new ConnectionNotFound();
      const result = await probe(connection);
      await database.change(scope.orgId, async (tx) => {
        if (result.ok) await recordHealthy(tx, scope.orgId, new Map([[id, { count: 1, lastAt: now() }]]));
        await append(tx, call, {
          action: "connection.test",
          target: id,
          details: { serviceSlug: connection.slug, ...result },
        });
      });
      return result;
    },

    async callService(request, context) {
      const scope = scopeOf(context);
      const body = requestBody(request.body);
      const query = queryPairs(request.query);
      const { connection, credential } = await openBySlug(scope, request.service);
      using _wiped = credential.secret;
      const timeoutMs = context.timeoutMs();
      const sent = outbound.send({
        share: scope.orgId,
        baseUrl: connection.baseUrl,
        method: request.method,
        path: request.path,
        query,
        headers: withContentType(request.headers, body?.contentType),
        ...(body && { body: body.bytes }),
        credential,
        signal: context.signal,
        ...(timeoutMs !== undefined && { timeoutMs }),
      });
      const reply = await sent.catch((error: unknown) => {
        if (!wasRefusedHere(error)) usage.note(scope.orgId, connection.id, now());
        throw error;
      });
      usage.note(scope.orgId, connection.id, now());
      if (reply.status >= 200 && reply.status < 300) healthy.note(scope.orgId, connection.id, now());
      return {
        status: reply.status,
        headers: reply.headers,
        latencyMs: Math.round(reply.latencyMs),
        body: await replyBody(reply),
      };
    },
  };
}

/** Last of a transaction, and the connection's event last of all. */
async function appendAll(tx: Tx, call: Call, events: readonly NewAuditEvent[], last: NewAuditEvent) {
  for (const event of [...events, last]) await append(tx, call, event);
}

/** Nothing left for the service: such a call does not count as one. */
function wasRefusedHere(error: unknown): boolean {
  return (
    error instanceof TooManyCalls ||
    (error instanceof ServiceError &&
      (error.kind === "invalid_argument" || error.kind === "permission_denied"))
  );
}

const neverUsed = { lastHealthyAt: undefined, lastUsedAt: undefined };

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

function withContentType(
  headers: Record<string, string>,
  contentType: string | undefined,
): Record<string, string> {
  if (
    contentType === undefined ||
    Object.keys(headers).some((name) => name.toLowerCase() === "content-type")
  ) {
    return headers;
  }
  return { ...headers, "content-type": contentType };
}

function toMessage(connection: Connection, now: Date): MessageInitShape<typeof ConnectionSchema> {
  return {
    id: connection.id,
    serviceSlug: connection.slug,
    baseUrl: connection.baseUrl,
    active: connection.active,
    createdAt: timestampFromDate(connection.createdAt),
    ...(connection.lastHealthyAt && { lastHealthyAt: timestampFromDate(connection.lastHealthyAt) }),
    ...(connection.lastUsedAt && { lastUsedAt: timestampFromDate(connection.lastUsedAt) }),
    ...(isUnhealthy(connection, now) && { unhealthy: true }),
  };
}
