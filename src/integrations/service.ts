import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { OAuthClientSchema } from "#gen/patchbay/integrations/v1/integration_pb.js";
import type { IntegrationService } from "#gen/patchbay/integrations/v1/integration_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import type { Database, Tx } from "#src/db/database.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { callerOf, callOf, type Viewer } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import { present } from "#src/platform/present.ts";
import {
  deleteClient,
  deleteClients,
  findClientForUpdate,
  listClients,
  type StoredClient,
} from "./client-store.ts";
import { requireSound } from "./definition.ts";
import { IntegrationInUse, OAuthClientNotFound, UnknownIntegration } from "./errors.ts";
import { findDescribed } from "./find-described.ts";
import { definitionFrom } from "./from-message.ts";
import type { AuthMethod, Integration } from "./integration.ts";
import { listIntegrations } from "./list.ts";
import { toMessage } from "./messages.ts";
import { placeOfSecret, type OAuthClients } from "./oauth-clients.ts";
import { methodOf } from "./recipe.ts";
import { isCustom } from "./slug.ts";
import { deleteOwn, getOwn, lockOwn, putOwn } from "./store.ts";

const defaultPageSize = 50;

/** What keeping integrations needs. */
export interface IntegrationParts {
  readonly database: Database;
  readonly change: Change;
  readonly outbound: Pick<Outbound, "checkBaseUrl">;
  /** How many connections of the organisation, in each environment, are of the integration. */
  readonly countConnections: (tx: Tx, orgId: string, integration: string) => Promise<number>;
  /** Deletes what the organisation has imported of the integration. */
  readonly forgetCatalog: (tx: Tx, orgId: string, integration: string) => Promise<void>;
  readonly now: () => Date;
}

/** Keeps integrations. See the contract, `integration_service.proto`. */
export function createIntegrationService(
  parts: IntegrationParts & { readonly oauthClients: OAuthClients },
): ServiceImpl<typeof IntegrationService> {
  const { database, change, outbound, countConnections, forgetCatalog, oauthClients, now } = parts;

  return {
    async listIntegrations(request, context) {
      const { orgId } = callerOf(context);
      const source = (["sibling", "preset", "own"] as const).find((one) => one === request.source);
      const page = await database.read(orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listIntegrations(tx, orgId, { source, text: request.q }, rows),
          ({ slug }) => slug,
        ),
      );
      return { integrations: page.items.map((one) => toMessage(one)), ...nextPage(page) };
    },

    async getIntegration({ slug }, context) {
      const caller = callerOf(context);
      const integration = await database.read(caller.orgId, async (tx) => {
        const found = await known(tx, caller, slug);
        return toMessage(found, await clientMessages(tx, caller, found));
      });
      return { integration };
    },

    async upsertIntegration(request, context) {
      const call = callOf(context);
      const { orgId } = callerOf(context);
      const { slug } = request;
      if (!isCustom(slug)) throw new InvalidRequest(notOwn);
      const wanted = definitionFrom(request, 1);
      await inTurns(requireSound(wanted, outbound.checkBaseUrl));
      return change(call, async (tx) => {
        await lockOwn(tx, orgId, slug);
        const before = await getOwn(tx, orgId, slug);
        const definition = { ...wanted, version: (before?.version ?? 0) + 1 };
        await putOwn(tx, orgId, definition, now());
        await append(tx, call, {
          action: "integration.upsert",
          target: slug,
          details: {
            version: { before: before?.version ?? null, after: definition.version },
            baseUrl: { before: before?.baseUrl ?? null, after: definition.baseUrl ?? null },
            authMethods: definition.authMethods.map(({ id }) => id),
          },
        });
        const clients = await clientMessages(tx, callerOf(context), definition);
        return { created: before === undefined, integration: toMessage(definition, clients) };
      });
    },

    async deleteIntegration({ slug }, context) {
      const call = callOf(context);
      const { orgId } = callerOf(context);
      await change(call, async (tx) => {
        await lockOwn(tx, orgId, slug);
        const before = isCustom(slug) ? await getOwn(tx, orgId, slug) : undefined;
        if (before === undefined) throw new UnknownIntegration();
        const connections = await countConnections(tx, orgId, slug);
        if (connections > 0) throw new IntegrationInUse(slug, connections);
        await deleteOwn(tx, orgId, slug);
        await deleteClients(tx, orgId, slug);
        await forgetCatalog(tx, orgId, slug);
        const details = { version: before.version, baseUrl: before.baseUrl ?? null };
        await append(tx, call, { action: "integration.delete", target: slug, details });
      });
      return {};
    },

    async putOAuthClient(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const { slug: integration, authMethod, clientId, clientSecret } = request;
      if (clientSecret !== undefined) requireSendable(clientSecret);
      const client = await oauthClients.storing(caller, (store) =>
        change(call, async (tx) => {
          const found = await known(tx, caller, integration);
          const method = oauthMethodOf(found, authMethod);
          const boundTo = placeOfSecret(found, method);
          const given = { clientId, clientSecret, boundTo };
          const { before, stored } = await store(tx, { integration, authMethod }, given, now());
          await append(tx, call, {
            action: "integration.client.put",
            target: integration,
            details: clientDetails(authMethod, before, stored),
          });
          return clientMessage(authMethod, stored, found);
        }),
      );
      return { client };
    },

    async deleteOAuthClient({ slug: integration, authMethod }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const place = { integration, authMethod };
      await change(call, async (tx) => {
        const before = await findClientForUpdate(tx, caller, place);
        if (before === undefined) throw new OAuthClientNotFound();
        await deleteClient(tx, caller, place);
        await append(tx, call, {
          action: "integration.client.delete",
          target: integration,
          details: clientDetails(authMethod, before, undefined),
        });
      });
      return {};
    },
  };
}

const notOwn =
  "slug: give custom:<slug> with lower-case letters, digits and hyphens, at most 63; others come with Patchbay";

async function known(tx: Tx, { orgId }: Viewer, slug: string): Promise<Integration> {
  const found = await findDescribed(tx, orgId, slug);
  if (found === undefined) throw new UnknownIntegration();
  return found;
}

function oauthMethodOf(integration: Integration, id: string): AuthMethod {
  const method = methodOf(integration, id);
  if (method.oauth2 === undefined)
    throw new InvalidRequest(`authMethod: ${id} does not speak OAuth, so it has no client`);
  return method;
}

function requireSendable(clientSecret: string): void {
  if (/^[!-~]+$/.test(clientSecret)) return;
  throw new InvalidRequest("clientSecret: give visible ASCII characters, without spaces and line breaks");
}

async function clientMessages(tx: Tx, viewer: Viewer, integration: Integration) {
  const clients = await listClients(tx, viewer, integration.slug);
  return clients.map(({ authMethod, client }) => clientMessage(authMethod, client, integration));
}

function clientMessage(
  authMethod: string,
  { clientId, boundTo, secret }: StoredClient,
  integration: Integration,
): MessageInitShape<typeof OAuthClientSchema> {
  const method = integration.authMethods.find(({ id }) => id === authMethod);
  const moved = method === undefined || placeOfSecret(integration, method) !== boundTo;
  return present({ authMethod, clientId, clientSecretHash: secret?.fingerprint, boundTo, moved });
}

/** What a client's event says: enough to compare it, not to use it. */
function clientDetails(
  authMethod: string,
  before: StoredClient | undefined,
  after: StoredClient | undefined,
) {
  return {
    authMethod,
    clientId: { before: before?.clientId ?? null, after: after?.clientId ?? null },
    clientSecretHash: {
      before: before?.secret?.fingerprint ?? null,
      after: after?.secret?.fingerprint ?? null,
    },
    boundTo: { before: before?.boundTo ?? null, after: after?.boundTo ?? null },
  };
}
