import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ApiKeyService, UpdateApiKeyRequest } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { append, nothingToAudit } from "#src/audit/append.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import { isActiveUser } from "#src/directory/store.ts";
import { callerOf, callOf, type Caller, type Environment } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { changedFields } from "#src/platform/field-mask.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import type { UsageLog } from "#src/platform/usage-log.ts";
import { revoke, update, type ApiKey, type ApiKeyChanges } from "./api-key.ts";
import { ApiKeyNotFound, ImmutableField, MissingScope, UnknownUser } from "./errors.ts";
import { toMessage } from "./messages.ts";
import { detailsOf, newApiKey, newSecret } from "./new-api-key.ts";
import { endGrace, rotate } from "./rotation.ts";
import { firstNotGrantable, scopesProblem } from "./scopes.ts";
import { getKey, getKeyForUpdate, insertKey, listKeys, saveKey, saveSecrets } from "./store.ts";

const defaultPageSize = 1000;
/** The requirement's grace: a day in which callers are redeployed. */
const defaultGraceSeconds = 24 * 60 * 60;

/** Issues and revokes keys. See the contract, `api_key_service.proto`. */
export function createApiKeyService(parts: {
  database: Database;
  pepper: Pepper;
  environment: Environment;
  /** Uses of keys. */
  usage: UsageLog;
  now: () => Date;
}): ServiceImpl<typeof ApiKeyService> {
  const { database, pepper, environment, usage, now } = parts;

  /** Ends the key and all of its secrets. */
  async function revokeKey(context: HandlerContext, id: string): Promise<ApiKey> {
    const call = callOf(context);
    const caller = callerOf(context);
    await usage.flush(caller.orgId);
    return database.change(caller.orgId, async (tx) => {
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
      requireScopes(request.scopes);
      requireGrantable(caller, request.scopes);
      const expiresAt = request.expiresAt && timestampDate(request.expiresAt);
      requireFuture(expiresAt, at);
      const { name, scopes, actAsUserId, rateLimitPerMinute } = request;
      const { key, secret } = newApiKey(
        { orgId: caller.orgId, name, environment, scopes, actAsUserId, expiresAt, rateLimitPerMinute },
        pepper,
        at,
      );
      await database.change(caller.orgId, async (tx) => {
        await requireActiveUser(tx, caller.orgId, key.actAsUserId);
        await insertKey(tx, key);
        await append(tx, call, { action: "api_key.create", target: key.id, details: detailsOf(key) });
      });
      return { apiKey: toMessage(key), secret, warnings: warningsFor(key) };
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
      requireFuture(changes.expiresAt, now());
      const updated = await database.change(caller.orgId, async (tx) => {
        const key = await getKeyForUpdate(tx, caller, request.id);
        if (key === undefined) throw new ApiKeyNotFound();
        const next = update(key, changes, caller);
        // Whoever gives a key scopes, life or a user hands out all that it can do.
        if (handsOut(changes)) requireGrantable(caller, next.scopes);
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
      return { apiKey: toMessage(await revokeKey(context, callerOf(context).apiKeyId)) };
    },

    async rotateApiKey({ id, graceSeconds }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const at = now();
      const fresh = newSecret(environment, pepper, at);
      const { key, previousValidUntil } = await database.change(caller.orgId, async (tx) => {
        const known = await getKeyForUpdate(tx, caller, id);
        if (known === undefined) throw new ApiKeyNotFound();
        // A new secret hands out all that the key can do.
        requireGrantable(caller, known.scopes);
        const rotation = rotate(known, fresh.stored, (graceSeconds ?? defaultGraceSeconds) * 1000, at);
        await saveSecrets(tx, rotation.key);
        await append(tx, call, {
          action: "api_key.rotate",
          target: id,
          details: { name: known.name, previousValidUntil: rotation.previousValidUntil.toISOString() },
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
      const ended = await database.change(caller.orgId, async (tx) => {
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
        apiKeyId: caller.apiKeyId,
        name: caller.name,
        environment: caller.environment,
        scopes: [...caller.scopes],
        ...(caller.userId !== undefined && { effectiveUserId: caller.userId }),
        ...(caller.expiresAt && { expiresAt: timestampFromDate(caller.expiresAt) }),
      };
    },
  };
}

function requireScopes(scopes: readonly string[]): void {
  const problem = scopesProblem(scopes);
  if (problem !== undefined) throw new InvalidRequest(`scopes: ${problem}`);
}

function requireGrantable(caller: Caller, scopes: readonly string[]): void {
  const missing = firstNotGrantable(caller.scopes, scopes);
  if (missing !== undefined) throw new MissingScope(missing);
}

function handsOut(changes: ApiKeyChanges): boolean {
  return "scopes" in changes || "actAsUserId" in changes || "expiresAt" in changes;
}

function requireFuture(expiresAt: Date | undefined, now: Date): void {
  if (expiresAt !== undefined && expiresAt <= now) {
    throw new InvalidRequest("expiresAt: lies in the past; give a later time, or revoke the key to end it");
  }
}

async function requireActiveUser(tx: Tx, orgId: string, userId: string | undefined): Promise<void> {
  if (userId !== undefined && !(await isActiveUser(tx, orgId, userId))) throw new UnknownUser();
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
    },
    (field) => new ImmutableField(field),
  );
  if (fields.has("name") && request.name === undefined) throw new InvalidRequest("name: cannot be cleared");
  return {
    ...(fields.has("name") && request.name !== undefined && { name: request.name }),
    ...(fields.has("scopes") && { scopes: request.scopes }),
    ...(fields.has("act_as_user_id") && { actAsUserId: request.actAsUserId }),
    ...(fields.has("expires_at") && { expiresAt: request.expiresAt && timestampDate(request.expiresAt) }),
    ...(fields.has("rate_limit_per_minute") && { rateLimitPerMinute: request.rateLimitPerMinute }),
  };
}

function warningsFor(key: ApiKey): string[] {
  if (key.environment !== "live" || !key.scopes.includes("write")) return [];
  return ["the scope write covers every resource; a live key is safer with only the scopes that it needs"];
}
