import type { FieldMask } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { isDeepStrictEqual } from "node:util";
import type {
  ConnectionService,
  UpdateConnectionRequest,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { changedFields, jsonName } from "#src/platform/field-mask.ts";
import type { Tx } from "#src/db/database.ts";
import { callerOf, callOf, type Call, type Caller } from "#src/platform/caller.ts";
import { requireChangeable, requireTagsChangeable } from "./access.ts";
import { appendAll } from "./append-all.ts";
import {
  requireOwnBaseUrl,
  storesCredential,
  updated,
  type CallChanges,
  type Candidate,
} from "./candidate.ts";
import { isSamePlace, requireWithin, type Connection } from "./connection.ts";
import { requireOwnable } from "./create.ts";
import {
  credentialDetails,
  type Secrets,
  type StoreCredential,
  type WantedCredential,
} from "./credentials.ts";
import { endGrant } from "./end-grant.ts";
import { ConnectionChanged } from "./errors.ts";
import { hashOf, toMessage } from "./messages.ts";
import type { ConnectionParts } from "./service.ts";
import {
  deleteFlows,
  findSealed,
  getConnectionForUpdate,
  getCredential,
  saveConnection,
  type SealedConnection,
  type StoredCredential,
} from "./store.ts";

/** How often an update begins again, because the connection was changed meanwhile. */
const mostAttempts = 3;

/** Changes a connection. See the contract. */
export function createUpdateConnection(
  parts: ConnectionParts,
): ServiceImpl<typeof ConnectionService>["updateConnection"] {
  const { database, change, credentials, integrations, outbound, verify, now } = parts;

  /** The integration, if the update asks what it says. */
  async function integrationOf(
    tx: Tx,
    caller: Caller,
    known: Pick<Connection, "integration">,
    changes: Changes,
  ) {
    const isAsked = (changes.params ?? changes.credentials ?? changes.baseUrl) !== undefined;
    return isAsked ? integrations.find(tx, caller, known.integration) : undefined;
  }

  /** What takes too long for a transaction: the stored secrets are opened, and the service is asked. */
  async function look(
    caller: Caller,
    id: string,
    changes: Changes,
    signal: AbortSignal,
  ): Promise<Seen | undefined> {
    const keepsSecrets = !storesCredential(changes);
    if (!changes.verify && !(keepsSecrets && changes.params !== undefined)) return undefined;
    const { known, integration } = await database.read(caller.orgId, async (tx) => {
      const sealed = await findSealed(tx, caller, id);
      const found = requireChangeable(caller, sealed?.id === id ? sealed : undefined);
      return { known: found, integration: await integrationOf(tx, caller, found, changes) };
    });
    const secrets =
      keepsSecrets && known.credential !== undefined ? await credentials.secretsOf(known) : undefined;
    const candidate = updated(known, changes, { integration, secrets });
    if (changes.verify) {
      if (keepsSecrets) requireWithin(known, candidate.baseUrl, known.credential?.principalKeyId);
      const baseUrl = outbound.checkBaseUrl(candidate.baseUrl);
      const { callerServiceSlug } = keepsSecrets ? known : {};
      await verify(caller.orgId, { ...candidate, baseUrl, callerServiceSlug }, signal);
    }
    return { known, secrets };
  }

  async function save(update: {
    tx: Tx;
    call: Call;
    caller: Caller;
    id: string;
    changes: Changes;
    seen: Seen | undefined;
    store?: StoreCredential | undefined;
  }) {
    const { tx, call, caller, id, changes, seen, store } = update;
    const known = requireChangeable(caller, await getConnectionForUpdate(tx, caller, id));
    if (changes.tags !== undefined) requireTagsChangeable(caller);
    const before = await getCredential(tx, caller.orgId, id);
    if (seen !== undefined) requireSame(seen.known, known, before);
    const integration = await integrationOf(tx, caller, known, changes);
    const candidate = updated(known, changes, { integration, secrets: seen?.secrets });
    const next = changed(known, changes, candidate, caller);
    if (next.baseUrl !== known.baseUrl) outbound.checkBaseUrl(next.baseUrl);
    if (store === undefined) {
      if (before !== undefined) requireWithin(known, next.baseUrl, before.principalKeyId);
      else if (changes.baseUrl !== undefined) requireOwnBaseUrl(next, next.baseUrl, integration);
    }
    await saveConnection(tx, next, now());
    // What a person agreed to, or was shown, was of the connection as it was.
    if (!isSamePlace(known, next)) await deleteFlows(tx, next);
    const until = fallbackUntilOf(changes, now());
    const wanted = wantedOf(changes, candidate);
    const replaced =
      wanted && (await store?.(tx, next, wanted, { connection: known, credential: before }, until));
    await appendAll(tx, call, replaced?.events ?? [], {
      action: "connection.update",
      target: id,
      details: {
        serviceSlug: known.slug,
        baseUrl: { before: known.baseUrl, after: next.baseUrl },
        active: { before: known.active, after: next.active },
        ...differences(known, next),
        ...credentialDetails(before, replaced?.stored ?? before, replaced?.fallbackUntil),
      },
    });
    if (replaced === undefined) return { connection: next };
    const { stored, fallbackUntil, endedGrant } = replaced;
    const shown = { ...next, scopes: undefined, expiresAt: undefined, fallbackUntil };
    return { connection: shown, stored, endedGrant };
  }

  return async (request, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const { id } = request;
    const given = changesFrom(request);
    const changes =
      given.baseUrl === undefined ? given : { ...given, baseUrl: outbound.checkBaseUrl(given.baseUrl) };
    const { connection, stored, endedGrant } = await repeated(async () => {
      const seen = await look(caller, id, changes, context.signal);
      const update = (tx: Tx, store?: StoreCredential) =>
        save({ tx, call, caller, id, changes, seen, store });
      return storesCredential(changes)
        ? credentials.storing(caller, (store) => change(call, (tx) => update(tx, store)))
        : change(call, update);
    });
    if (endedGrant !== undefined) await endGrant(parts, call, endedGrant);
    const hash = stored === undefined ? {} : hashOf(stored.fingerprint);
    return { connection: { ...toMessage(connection, now()), ...hash } };
  };
}

/** What an update changes, and how. */
interface Changes extends CallChanges {
  readonly active?: boolean | undefined;
  /** Null clears it. */
  readonly name?: string | null;
  readonly tags?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly visibility?: Connection["visibility"] | undefined;
  readonly verify: boolean;
  readonly fallbackSeconds: number | undefined;
}

/** A connection as it was before the transaction. */
interface Seen {
  readonly known: SealedConnection;
  readonly secrets: Secrets | undefined;
}

async function repeated<T>(once: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once();
    } catch (error) {
      if (!(error instanceof ConnectionChanged) || attempt === mostAttempts) throw error;
    }
  }
}

/** What was looked at must be what is changed: another secret by now was not verified, nor is it the one that was opened. */
function requireSame(
  seen: SealedConnection,
  known: Connection,
  credential: StoredCredential | undefined,
): void {
  if (seen.credential?.version === credential?.version && isSamePlace(seen, known)) return;
  throw new ConnectionChanged();
}

function changed(known: Connection, changes: Changes, candidate: Candidate, caller: Caller): Connection {
  const { name, tags, metadata, active, visibility } = changes;
  const { baseUrl, authMethod, recipe, params } = candidate;
  return {
    ...known,
    ...{ baseUrl, authMethod, recipe, params },
    active: active ?? known.active,
    name: name === undefined ? known.name : (name ?? undefined),
    tags: tags ?? known.tags,
    metadata: metadata ?? known.metadata,
    ...(visibility && owned(known, visibility, caller)),
    ...(storesCredential(changes) && { status: "ACTIVE" as const, statusReason: undefined }),
  };
}

/** What nobody owns belongs to the user who makes it private. */
function owned({ slug, ownerUserId }: Connection, visibility: Connection["visibility"], caller: Caller) {
  if (visibility === "org") return { visibility };
  requireOwnable(slug, caller);
  if (ownerUserId !== undefined && ownerUserId !== caller.userId) {
    throw new InvalidRequest("visibility: only the user who made the connection can make it private");
  }
  return { visibility, ownerUserId: caller.userId };
}

function wantedOf({ apiKey }: CallChanges, { secrets }: Candidate): WantedCredential | undefined {
  if (apiKey !== undefined) return { apiKey };
  return secrets && { secrets };
}

function fallbackUntilOf({ fallbackSeconds }: Changes, now: Date): Date | undefined {
  return fallbackSeconds === undefined ? undefined : new Date(now.getTime() + fallbackSeconds * 1000);
}

/** What the audit event says of fields that an update may have left alone. */
function differences(before: Connection, after: Connection) {
  const shown = ["authMethod", "params", "name", "tags", "metadata", "visibility", "ownerUserId"] as const;
  return Object.fromEntries(
    shown
      .filter((field) => !isDeepStrictEqual(before[field], after[field]))
      .map((field) => [field, { before: before[field] ?? null, after: after[field] ?? null }]),
  );
}

function changesFrom(request: UpdateConnectionRequest): Changes {
  const { baseUrl, apiKey, active, visibility, fallbackSeconds, verify } = request;
  const fields = changedFields(
    withoutHow(request.updateMask),
    {
      base_url: baseUrl !== undefined,
      api_key: apiKey !== undefined,
      active: active !== undefined,
      name: request.name !== undefined,
      tags: request.tags.length > 0,
      metadata: Object.keys(request.metadata).length > 0,
      visibility: visibility !== undefined,
      params: Object.keys(request.params).length > 0,
      credentials: Object.keys(request.credentials).length > 0,
    },
    (field) => new InvalidRequest(`${field}: cannot be changed; change ${changeable.join(", ")}`),
  );
  const given = { base_url: baseUrl, api_key: apiKey, active, visibility };
  for (const field of ["base_url", "api_key", "active", "visibility"] as const) {
    if (fields.has(field) && given[field] === undefined) {
      throw new InvalidRequest(`${jsonName(field)}: cannot be cleared; give a value`);
    }
  }
  if (fields.has("credentials") && Object.keys(request.credentials).length === 0) {
    throw new InvalidRequest("credentials: cannot be cleared; give all that the auth method asks for");
  }
  const changes: Changes = {
    ...(fields.has("base_url") && { baseUrl }),
    ...(fields.has("api_key") && { apiKey }),
    ...(fields.has("active") && { active }),
    ...(fields.has("name") && { name: request.name ?? null }),
    ...(fields.has("tags") && { tags: request.tags }),
    ...(fields.has("metadata") && { metadata: request.metadata }),
    ...(fields.has("visibility") && { visibility: visibility === "owner" ? "owner" : "org" }),
    ...(fields.has("params") && { params: request.params }),
    ...(fields.has("credentials") && { credentials: request.credentials }),
    verify,
    fallbackSeconds,
  };
  if (fallbackSeconds !== undefined && !storesCredential(changes)) {
    throw new InvalidRequest("fallbackSeconds: give it with the apiKey or the credentials that take over");
  }
  return changes;
}

/** Over REST, all fields of the body are named; some say how to change others. */
function withoutHow(mask: FieldMask | undefined): FieldMask | undefined {
  const how = ["verify", "fallback_seconds"];
  return mask && { ...mask, paths: mask.paths.filter((path) => !how.includes(path)) };
}

const changeable = [
  ...["baseUrl", "apiKey", "active", "name", "tags", "metadata", "visibility", "params", "credentials"],
];
