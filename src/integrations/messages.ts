import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  AuthMethodSchema,
  IntegrationSchema,
  OAuth2MethodSchema,
  OAuthClientSchema,
} from "#gen/patchbay/integrations/v1/integration_pb.js";
import { present } from "#src/platform/present.ts";
import type { AuthMethod, CredentialField, Integration, OAuth2Method, Placeholder } from "./integration.ts";
import { isBuiltIn, isCustom } from "./slug.ts";
import { valuesSchema } from "./values-schema.ts";

/** Where an integration is from. */
export type Source = "sibling" | "preset" | "own";

/** The source of the integration that has the slug. */
export function sourceOf(slug: string): Source {
  if (isCustom(slug)) return "own";
  return isBuiltIn(slug) ? "sibling" : "preset";
}

/** The integration as answers show it; in lists, without clients and schemas. */
export function toMessage(
  integration: Integration,
  clients?: readonly MessageInitShape<typeof OAuthClientSchema>[],
): MessageInitShape<typeof IntegrationSchema> {
  const { slug, name, category, baseUrl, allowedHosts, requiredHeaders, optionalHeaders } = integration;
  const { placeholders = {}, probe, docs, openapiPath, version } = integration;
  return present({
    ...{ slug, name, category, baseUrl, requiredHeaders, optionalHeaders, docs, openapiPath, version },
    source: sourceOf(slug),
    placeholders: Object.fromEntries(
      Object.entries(placeholders).map(([key, placeholder]) => [key, placeholderMessage(placeholder)]),
    ),
    allowedHosts: allowedHosts && [...allowedHosts],
    authMethods: integration.authMethods.map(methodMessage),
    probe: probe && {
      ...probe,
      ...probe.expect,
      alsoValid: [...(probe.alsoValid ?? [])],
    },
    oauthClients: [...(clients ?? [])],
    valuesSchemas:
      clients &&
      Object.fromEntries(
        integration.authMethods.map((method) => [method.id, valuesSchema(integration, method)]),
      ),
  });
}

function placeholderMessage({ in: place, enum: list = [], ...rest }: Placeholder) {
  return { ...rest, place, oneOf: [...list] };
}

function methodMessage(method: AuthMethod): MessageInitShape<typeof AuthMethodSchema> {
  const { id, type, label, note, baseUrl, oauth2, fields, inject, unsupported } = method;
  return present({
    ...{ id, type, label, note, baseUrl, inject, unsupported },
    oauth2: oauth2 && oauthMessage(oauth2),
    fields: fields.map(fieldMessage),
  });
}

function fieldMessage({ enum: list = [], ...rest }: CredentialField) {
  return { ...rest, oneOf: [...list] };
}

function oauthMessage(oauth2: OAuth2Method): MessageInitShape<typeof OAuth2MethodSchema> {
  const { scopeParameter, accessTokenLifetimeSeconds, defaultScopes, responseQuirks } = oauth2;
  return present({
    ...oauth2,
    // Absent says something else, on both.
    scopeParameter: scopeParameter === null ? "" : scopeParameter,
    accessTokenLifetimeSeconds: accessTokenLifetimeSeconds === null ? 0 : accessTokenLifetimeSeconds,
    defaultScopes: [...defaultScopes],
    responseQuirks: [...responseQuirks],
  });
}
