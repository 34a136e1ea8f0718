import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type {
  ConnectionSchema,
  ServiceConnectionSchema,
} from "#gen/patchbay/connections/v1/connection_pb.js";
import { isUnhealthy, type Connection } from "./connection.ts";

/** A connection as the list of slugs shows it. */
export function toServiceConnection(
  connection: Connection,
  now: Date,
): MessageInitShape<typeof ServiceConnectionSchema> {
  return { ...whatBothShow(connection, now), serviceSlug: connection.slug ?? "" };
}

/** A connection with all that is known of it. */
export function toMessage(connection: Connection, now: Date): MessageInitShape<typeof ConnectionSchema> {
  const { slug, ownerUserId, name, statusReason, expiresAt, fallbackUntil } = connection;
  return {
    ...whatBothShow(connection, now),
    ...(slug !== undefined && { serviceSlug: slug }),
    integration: connection.integration,
    authMethod: connection.authMethod,
    ...(ownerUserId !== undefined && { ownerUserId }),
    visibility: connection.visibility,
    ...(name !== undefined && { name }),
    tags: [...connection.tags],
    metadata: { ...connection.metadata },
    params: { ...connection.params },
    status: connection.status,
    ...(statusReason !== undefined && { statusReason }),
    ...healthOf(connection),
    ...scopesOf(connection),
    ...(expiresAt && { expiresAt: timestampFromDate(expiresAt) }),
    ...(fallbackUntil && fallbackUntil > now && { fallbackUntil: timestampFromDate(fallbackUntil) }),
  };
}

/** The hash of a credential that was just stored, under the name that its kind has. */
export function hashOf(fingerprint: string): { apiKeyHash: string } | { credentialHash: string } {
  return fingerprint.startsWith("sha256:") ? { apiKeyHash: fingerprint } : { credentialHash: fingerprint };
}

function whatBothShow(connection: Connection, now: Date) {
  return {
    id: connection.id,
    baseUrl: connection.baseUrl,
    active: connection.active,
    createdAt: timestampFromDate(connection.createdAt),
    ...(connection.lastHealthyAt && { lastHealthyAt: timestampFromDate(connection.lastHealthyAt) }),
    ...(connection.lastUsedAt && { lastUsedAt: timestampFromDate(connection.lastUsedAt) }),
    ...(isUnhealthy(connection, now) && { unhealthy: true }),
  };
}

/** What both a connection and its health say of the last probe. */
export function healthOf(connection: Connection) {
  const { lastCheckedAt, lastLatencyMs, certificateExpiresAt } = connection;
  return {
    ...lastErrorOf(connection),
    ...(lastCheckedAt && { lastCheckedAt: timestampFromDate(lastCheckedAt) }),
    ...(lastLatencyMs !== undefined && { lastLatencyMs }),
    ...(certificateExpiresAt && { certificateExpiresAt: timestampFromDate(certificateExpiresAt) }),
  };
}

/** An error of before the service last answered well is over. */
function lastErrorOf({ lastError, lastHealthyAt }: Connection) {
  if (lastError === undefined || (lastHealthyAt !== undefined && lastHealthyAt > lastError.at)) return {};
  const { stage, message, at } = lastError;
  return { lastError: { stage, message, at: timestampFromDate(at) } };
}

function scopesOf({ scopes }: Connection) {
  if (scopes === undefined) return {};
  const { requested, granted } = scopes;
  return {
    requestedScopes: [...requested],
    grantedScopes: [...(granted ?? [])],
    missingScopes: granted === undefined ? [] : requested.filter((scope) => !granted.includes(scope)),
  };
}
