import type { ServiceImpl } from "@connectrpc/connect";
import type {
  ConnectionService,
  UpsertServiceConnectionRequest,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { Tx } from "#src/db/database.ts";
import { bearerRecipe, type Integration } from "#src/integrations/integration.ts";
import { parseSlug, type ServiceSlug } from "#src/integrations/slug.ts";
import { callerOf, callOf, type Caller } from "#src/platform/caller.ts";
import { scopesOf } from "#src/operations/service-description.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { newId } from "#src/platform/ids.ts";
import { requireUsable, requireWithinRights } from "./access.ts";
import { appendAll } from "./append-all.ts";
import { requireIntegration, withApiKey, withMethod, type Candidate } from "./candidate.ts";
import { plainConnection, type Connection } from "./connection.ts";
import {
  credentialDetails,
  wantedCredential,
  type StoreCredential,
  type WantedCredential,
} from "./credentials.ts";
import { endGrant } from "./end-grant.ts";
import { hashOf, toServiceConnection } from "./messages.ts";
import type { ConnectionParts } from "./service.ts";
import {
  findBySlugForUpdate,
  findSealed,
  getCredential,
  insertConnection,
  lockSlug,
  saveConnection,
} from "./store.ts";

/** Registers a connection under its slug, or replaces its base URL and credential. See the contract. */
export function createUpsertServiceConnection(
  parts: ConnectionParts,
): ServiceImpl<typeof ConnectionService>["upsertServiceConnection"] {
  const { database, change, credentials, integrations, describe, outbound, verify, now } = parts;

  /** What the slug is of, by now or from now on, for a caller that may change it. */
  async function integrationOf(caller: Caller, slug: ServiceSlug): Promise<Integration> {
    return database.read(caller.orgId, async (tx) => {
      const known = await findSealed(tx, caller, slug);
      requireWithinRights(caller, known ?? { ...plainConnection, id: "", slug });
      return requireIntegration(await integrations.find(tx, caller, known?.integration ?? slug));
    });
  }

  async function wantedBy(
    request: UpsertServiceConnectionRequest,
    caller: Caller,
    slug: ServiceSlug,
  ): Promise<Wanted> {
    const { auth, apiKey, scopes, baseUrl, verify: isVerified } = request;
    // Before the service is asked anything.
    const integration = auth || isVerified ? await integrationOf(caller, slug) : undefined;
    if (auth === undefined || integration === undefined) {
      const credential = wantedCredential(slug, request, scopesOf(await describe(caller.orgId, slug)));
      const { authMethod, recipe, params } = plainConnection;
      const plain = { baseUrl, authMethod, recipe, params, secrets: undefined };
      return { credential, candidate: apiKey === undefined ? plain : withApiKey(apiKey, baseUrl) };
    }
    if (apiKey !== undefined) throw new InvalidRequest("auth: it excludes apiKey; give one of the two");
    if (scopes.length > 0)
      throw new InvalidRequest("auth: it excludes scopes, which are of a service principal");
    const candidate = withMethod(integration, auth.authMethod, { ...auth, baseUrl });
    const { secrets } = candidate;
    if (secrets === undefined) {
      throw new InvalidRequest(
        "auth: a person signs in by that method; make the connection with POST /api/connections",
      );
    }
    return { integration, candidate, credential: { secrets } };
  }

  return async (request, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const { orgId } = caller;
    const slug = parseSlug(request.serviceSlug);
    // As given, before an integration has a say in it: what is wrong with it is told the same way for every method.
    outbound.checkBaseUrl(request.baseUrl);
    const { integration, candidate: wanted, credential } = await wantedBy(request, caller, slug);
    const candidate = { ...wanted, baseUrl: outbound.checkBaseUrl(wanted.baseUrl) };
    if (request.verify) {
      requireVerifiable(candidate);
      await verify(orgId, candidate, context.signal);
    }

    const upsert = async (tx: Tx, store: StoreCredential) => {
      if (integration !== undefined) await integrations.hold(tx, caller, integration);
      await lockSlug(tx, caller, slug);
      const known = await findBySlugForUpdate(tx, caller, slug);
      const before = known && { connection: known, credential: await getCredential(tx, orgId, known.id) };
      const at = now();
      const connection = connectionAfter(
        known ?? newConnection(caller, slug, at),
        candidate,
        integration?.slug,
      );
      requireWithinRights(caller, connection);
      if (known) requireUsable(caller, known);
      await (known ? saveConnection(tx, connection, at) : insertConnection(tx, connection));
      const until = fallbackUntilOf(request, at);
      const replaced = await store(tx, connection, credential, before, until);
      const { stored, events, endedGrant } = replaced;
      await appendAll(tx, call, events, {
        action: known ? "connection.upsert" : "connection.create",
        target: connection.id,
        details: {
          serviceSlug: slug,
          baseUrl: { before: known?.baseUrl ?? null, after: connection.baseUrl },
          ...(connection.recipe !== bearerRecipe && { authMethod: connection.authMethod }),
          ...credentialDetails(before?.credential, stored, replaced.fallbackUntil),
        },
      });
      return { created: known === undefined, connection, fingerprint: stored.fingerprint, endedGrant };
    };
    const { created, connection, fingerprint, endedGrant } = await credentials.storing(caller, (store) =>
      change(call, (tx) => upsert(tx, store)),
    );
    if (endedGrant !== undefined) await endGrant(parts, call, endedGrant);
    return { created, connection: { ...toServiceConnection(connection, now()), ...hashOf(fingerprint) } };
  };
}

/** What a request makes of its slug. */
interface Wanted {
  /** Undefined where the request leaves it as it is. */
  readonly integration?: Integration;
  readonly candidate: Candidate;
  readonly credential: WantedCredential;
}

function requireVerifiable({ secrets }: Candidate): void {
  if (secrets !== undefined) return;
  throw new InvalidRequest(
    "verify: a service principal is issued with the change; leave it out, and test it afterwards",
  );
}

function newConnection({ orgId, environment }: Caller, slug: ServiceSlug, at: Date): Connection {
  return {
    ...plainConnection,
    ...{ orgId, environment, slug, integration: slug, baseUrl: "" },
    id: newId("scn", at),
    active: true,
    createdAt: at,
  };
}

function connectionAfter(
  known: Connection,
  candidate: Candidate,
  integration = known.integration,
): Connection {
  const { baseUrl, authMethod, recipe, params } = candidate;
  return {
    ...known,
    ...{ baseUrl, authMethod, recipe, params, integration },
    status: "ACTIVE",
    statusReason: undefined,
  };
}

function fallbackUntilOf({ fallbackSeconds }: UpsertServiceConnectionRequest, now: Date): Date | undefined {
  return fallbackSeconds === undefined ? undefined : new Date(now.getTime() + fallbackSeconds * 1000);
}
