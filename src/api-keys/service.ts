import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  ApiKeyService,
  CreateApiKeyRequest,
  ImportKeyRequest,
  UpdateApiKeyRequest,
} from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { append, nothingToAudit } from "#src/audit/append.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import { unchanged, type Database } from "#src/db/database.ts";
import type { Change } from "#src/audit/change.ts";
import { callerOf, callOf, type Caller, type Environment } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { changedFields } from "#src/platform/field-mask.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import type { UsageLog } from "#src/platform/usage-log.ts";
import { revoke, update, type ApiKey, type ApiKeyChanges } from "./api-key.ts";
import { ApiKeyNotFound, CallerServiceReserved, ImmutableField } from "./errors.ts";
import {
  requireActiveUser,
  requireAddresses,
  requireFuture,
  requireGivable,
  requireGrantable,
  requireRateLimit,
  requireRights,
  requireScopes,
  warningsFor,
} from "./granting.ts";
import { importedSecret, insertImported } from "./import-key.ts";
import { rightsFrom, toMessage, withRights } from "./messages.ts";
import { detailsOf, keyWith, newApiKey, newSecret } from "./new-api-key.ts";
import { endGrace, replaceUnused, rotate } from "./rotation.ts";
import {
  getKey,
  getKeyAndSecretsForUpdate,
  getKeyForUpdate,
  insertKey,
  listKeys,
  saveKey,
  saveSecrets,
} from "./store.ts";

const defaultPageSize = 1000;
/** The requirement's grace: a day in which callers are redeployed. */
const defaultGraceSeconds = 24 * 60 * 60;

/** What keeping keys needs. */
export interface ApiKeyParts {
  readonly database: Database;
  readonly change: Change;
  readonly pepper: Pepper;
  readonly environment: Environment;
  /** What imported keys may begin with. */
  readonly legacyPrefixes: readonly string[];
  /** The highest limit that a key may be given. */
  readonly maxRateLimitPerMinute: number;
  /** Uses of secrets, by their hashes. */
  readonly usage: UsageLog;
  readonly now: () => Date;
}

/** Issues and revokes keys. See the contract, `api_key_service.proto`. */
export function createApiKeyService(parts: ApiKeyParts): ServiceImpl<typeof ApiKeyService> {
  const { database, change, pepper, environment, legacyPrefixes, maxRateLimitPerMinute, usage, now } = parts;

  /** What the caller decides about a new key of its organisation. */
  function fieldsOf(request: CreateApiKeyRequest | ImportKeyRequest, { orgId }: Caller) {
    const { name, scopes, actAsUserId, rateLimitPerMinute, allowedCidrs, metadata } = request;
    const expiresAt = request.expiresAt && timestampDate(request.expiresAt);
    requireRateLimit(rateLimitPerMinute, maxRateLimitPerMinute);
    const limits = {
      expiresAt,
      rateLimitPerMinute,
      allowedCidrs,
      connections: rightsFrom(request.connections),
    };
    return { orgId, name, environment, scopes, actAsUserId, metadata, ...limits };
  }

  /** Ends the key and all of its secrets. */
  async function revokeKey(context: HandlerContext, id: string): Promise<ApiKey> {
    const call = callOf(context);
    const caller = callerOf(context);
    await usage.flush(caller.orgId);
    return change(call, async (tx) => {
      const key = await getKeyForUpdate(tx, caller, id);
      if (key === undefined) throw new ApiKeyNotFound();
      if (key.revokedAt !== undefined) {
        nothingToAudit(call);
        return unchanged(key);
      }
      const next = revoke(key, now());
      await saveKey(tx, next);
      await append(tx, call, { action: "api_key.revoke", target: id, details: { name: key.name } });
      return next;
    });
  }

  return {
    async createApiKey(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const at = now();
      if (request.callerServiceSlug !== undefined) throw new CallerServiceReserved();
      const { key, secret } = newApiKey(fieldsOf(request, caller), pepper, at);
      await change(call, async (tx) => {
        await requireGivable(tx, caller, key, at);
        await insertKey(tx, key);
        await append(tx, call, { action: "api_key.create", target: key.id, details: detailsOf(key) });
      });
      return { apiKey: toMessage(key), secret, warnings: warningsFor(key) };
    },

    async importKey(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const at = now();
      const secret = importedSecret(request, { environment, legacyPrefixes }, pepper, at);
      const key = keyWith(secret.stored, { ...fieldsOf(request, caller), kind: "imported" }, at);
      await change(call, async (tx) => {
        await requireGivable(tx, caller, key, at);
        await insertImported(tx, key, secret);
        await append(tx, call, { action: "api_key.import", target: key.id, details: detailsOf(key) });
      });
      return { apiKey: toMessage(key), warnings: warningsFor(key) };
    },

    async listApiKeys(request, context) {
      const caller = callerOf(context);
      await usage.flush(caller.orgId);
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listKeys(tx, caller, rows),
          (key) => key.id,
        ),
      );
      return { apiKeys: page.items.map(toMessage), ...nextPage(page) };
    },

    async getApiKey({ id }, context) {
      const caller = callerOf(context);
      await usage.flush(caller.orgId);
      const key = await database.read(caller.orgId, (tx) => getKey(tx, caller, id));
      if (key === undefined) throw new ApiKeyNotFound();
      return { apiKey: toMessage(key) };
    },

    async updateApiKey(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const changes = changesFrom(request);
      if (changes.scopes !== undefined) requireScopes(changes.scopes);
      if (changes.allowedCidrs !== undefined) requireAddresses(changes.allowedCidrs);
      requireRights(changes.connections);
      requireFuture(changes.expiresAt, now());
      requireRateLimit(changes.rateLimitPerMinute, maxRateLimitPerMinute);
      const updated = await change(call, async (tx) => {
        const key = await getKeyForUpdate(tx, caller, request.id);
        if (key === undefined) throw new ApiKeyNotFound();
        const next = update(key, changes, caller.via);
        // Verifiers act on or see all that can change, the name too, so a change takes what issuing the key would.
        requireGrantable(caller, next);
        if ("actAsUserId" in changes) await requireActiveUser(tx, caller.orgId, next.actAsUserId);
        await saveKey(tx, next);
        const details = { before: detailsOf(key), after: detailsOf(next) };
        await append(tx, call, { action: "api_key.update", target: key.id, details });
        return next;
      });
      return { apiKey: toMessage(updated) };
    },

    async revokeApiKey({ id }, context) {
      return { apiKey: toMessage(await revokeKey(context, id)) };
    },

    async revokeOwnApiKey(_request, context) {
      return { apiKey: toMessage(await revokeKey(context, callerOf(context).via.id)) };
    },

    async rotateApiKey(request, context) {
      const { id, graceSeconds = defaultGraceSeconds } = request;
      const call = callOf(context);
      const caller = callerOf(context);
      const at = now();
      if (request.replaceUnused && request.graceSeconds !== undefined) {
        throw new InvalidRequest(
          "graceSeconds: a secret that replaceUnused replaces ends at once; leave it out",
        );
      }
      const fresh = newSecret(environment, pepper, at);
      const find = request.replaceUnused ? getKeyAndSecretsForUpdate : getKeyForUpdate;
      const { key, previousValidUntil } = await change(call, async (tx) => {
        const known = await find(tx, caller, id);
        if (known === undefined) throw new ApiKeyNotFound();
        requireGrantable(caller, known);
        const rotation = request.replaceUnused
          ? replaceUnused(known, fresh.stored, at)
          : rotate(known, fresh.stored, graceSeconds * 1000, at);
        await saveSecrets(tx, rotation.key);
        await append(tx, call, {
          action: "api_key.rotate",
          target: id,
          details: {
            name: known.name,
            previousValidUntil: rotation.previousValidUntil.toISOString(),
            ...(request.replaceUnused && { replacedUnused: true }),
          },
        });
        return rotation;
      });
      return {
        apiKey: toMessage(key),
        secret: fresh.text,
        previousValidUntil: timestampFromDate(previousValidUntil),
      };
    },

    async endApiKeyGrace({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      await usage.flush(caller.orgId);
      const ended = await change(call, async (tx) => {
        const known = await getKeyForUpdate(tx, caller, id);
        if (known === undefined) throw new ApiKeyNotFound();
        const next = endGrace(known, now());
        if (next === undefined) {
          nothingToAudit(call);
          return unchanged(known);
        }
        await saveSecrets(tx, next);
        await append(tx, call, { action: "api_key.end_grace", target: id, details: { name: known.name } });
        return next;
      });
      return { apiKey: toMessage(ended) };
    },

    whoAmI(_request, context) {
      const caller = callerOf(context);
      return {
        organizationId: caller.orgId,
        apiKeyId: caller.via.id,
        name: caller.name,
        environment: caller.environment,
        scopes: [...caller.scopes],
        ...(caller.userId !== undefined && { effectiveUserId: caller.userId }),
        ...(caller.expiresAt && { expiresAt: timestampFromDate(caller.expiresAt) }),
        ...withRights(caller.connections),
      };
    },
  };
}

function changesFrom(request: UpdateApiKeyRequest): ApiKeyChanges {
  const fields = changedFields(
    request.updateMask,
    {
      name: request.name !== undefined,
      scopes: request.scopes.length > 0,
      act_as_user_id: request.actAsUserId !== undefined,
      expires_at: request.expiresAt !== undefined,
      rate_limit_per_minute: request.rateLimitPerMinute !== undefined,
      allowed_cidrs: request.allowedCidrs.length > 0,
      metadata: Object.keys(request.metadata).length > 0,
      connections: request.connections !== undefined,
    },
    (field) => new ImmutableField(field),
  );
  if (fields.has("name") && request.name === undefined) {
    throw new InvalidRequest("name: cannot be cleared; give a value");
  }
  return {
    ...(fields.has("name") && request.name !== undefined && { name: request.name }),
    ...(fields.has("scopes") && { scopes: request.scopes }),
    ...(fields.has("act_as_user_id") && { actAsUserId: request.actAsUserId }),
    ...(fields.has("expires_at") && { expiresAt: request.expiresAt && timestampDate(request.expiresAt) }),
    ...(fields.has("rate_limit_per_minute") && { rateLimitPerMinute: request.rateLimitPerMinute }),
    ...(fields.has("allowed_cidrs") && { allowedCidrs: request.allowedCidrs }),
    ...(fields.has("metadata") && { metadata: request.metadata }),
    ...(fields.has("connections") && { connections: rightsFrom(request.connections) }),
  };
}
