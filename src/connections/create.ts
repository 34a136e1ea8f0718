import type { ServiceImpl } from "@connectrpc/connect";
import type {
  ConnectionService,
  CreateConnectionRequest,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Tx } from "#src/db/database.ts";
import { isBuiltIn, parseSlug, type ServiceSlug } from "#src/integrations/slug.ts";
import { callerOf, callOf, type Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { newId } from "#src/platform/ids.ts";
import { ApiKeyNotBoundToUser } from "#src/verification/errors.ts";
import { requireCreatable } from "./access.ts";
import { requireIntegration, withMethod, type Candidate } from "./candidate.ts";
import { plainConnection, type Connection } from "./connection.ts";
import { credentialDetails, type StoreCredential } from "./credentials.ts";
import { hashOf, toMessage } from "./messages.ts";
import type { ConnectionParts } from "./service.ts";
import { insertConnection, lockSlug } from "./store.ts";

/** Makes a connection of an integration. See the contract. */
export function createCreateConnection(
  parts: ConnectionParts,
): ServiceImpl<typeof ConnectionService>["createConnection"] {
  const { database, change, integrations, credentials, outbound, verify, now } = parts;

  return async (request, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const slug = slugOf(request);
    const visibility = visibilityOf(request, slug, caller);
    const integration = requireIntegration(
      await database.read(caller.orgId, (tx) => integrations.find(tx, caller, request.integration)),
    );
    const wanted = withMethod(integration, request.authMethod, request);
    const candidate = { ...wanted, baseUrl: outbound.checkBaseUrl(wanted.baseUrl) };
    const connection: Connection = {
      ...newConnection(candidate, caller, now()),
      integration: integration.slug,
      slug,
      visibility,
      name: request.name,
      tags: request.tags,
      metadata: request.metadata,
    };
    requireCreatable(caller, connection);
    if (request.verify) await verify(caller.orgId, candidate, context.signal);

    const { secrets } = candidate;
    const create = async (tx: Tx, store?: StoreCredential) => {
      await integrations.hold(tx, caller, integration);
      // Or a registration of the slug beside it would find it taken, which looks before it inserts.
      if (slug !== undefined) await lockSlug(tx, caller, slug);
      await insertConnection(tx, connection);
      const stored = secrets && (await store?.(tx, connection, { secrets }))?.stored;
      await append(tx, call, {
        action: "connection.create",
        target: connection.id,
        details: {
          ...(slug !== undefined && { serviceSlug: slug }),
          integration: connection.integration,
          authMethod: connection.authMethod,
          visibility,
          baseUrl: { before: null, after: connection.baseUrl },
          ...credentialDetails(undefined, stored),
        },
      });
      return stored;
    };
    const stored = await (secrets === undefined
      ? change(call, create)
      : credentials.storing(caller, (store) => change(call, (tx) => create(tx, store))));
    const hash = stored === undefined ? {} : hashOf(stored.fingerprint);
    return { connection: { ...toMessage(connection, now()), ...hash } };
  };
}

/** Without what people decide of it. */
function newConnection(candidate: Candidate, { orgId, environment, userId }: Caller, at: Date) {
  const { baseUrl, authMethod, recipe, params } = candidate;
  return {
    ...plainConnection,
    ...{ orgId, environment, baseUrl, authMethod, recipe, params },
    id: newId("scn", at),
    active: true,
    createdAt: at,
    ownerUserId: userId,
    ...statusOf(candidate),
  };
}

/** A service that a program may sign in to by itself needs nobody who does. */
function statusOf({ recipe }: Candidate): Pick<Connection, "status" | "statusReason"> {
  const grant = recipe.method.oauth2?.grant;
  return grant === "authorization_code" || grant === "device_code"
    ? { status: "PENDING_AUTHORIZATION", statusReason: "nobody has signed in yet" }
    : { status: "ACTIVE", statusReason: undefined };
}

function slugOf({ serviceSlug, integration }: CreateConnectionRequest): ServiceSlug | undefined {
  if (serviceSlug === undefined) return undefined;
  const slug = parseSlug(serviceSlug);
  if (isBuiltIn(slug) && slug !== integration) {
    throw new InvalidRequest(
      `serviceSlug: ${slug} is a service of its own, and not of ${integration}; give another`,
    );
  }
  return slug;
}

function visibilityOf(
  { visibility }: CreateConnectionRequest,
  slug: ServiceSlug | undefined,
  caller: Caller,
): Connection["visibility"] {
  return visibility === "owner" ? requireOwnable(slug, caller) : "org";
}

/** Only a user can own a connection, and the handles of an organisation are everybody's. */
export function requireOwnable(slug: ServiceSlug | undefined, { userId }: Pick<Caller, "userId">): "owner" {
  if (slug !== undefined) {
    throw new InvalidRequest(
      "visibility: a connection with a serviceSlug is seen by the whole organization; give org, or no slug",
    );
  }
  if (userId === undefined) throw new ApiKeyNotBoundToUser();
  return "owner";
}
