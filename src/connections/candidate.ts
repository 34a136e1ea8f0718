import { isDeepStrictEqual } from "node:util";
import { UnknownIntegration } from "#src/integrations/errors.ts";
import { bearerRecipe, type Integration, type Recipe } from "#src/integrations/integration.ts";
import { methodOf, prepare } from "#src/integrations/recipe.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { requireSendable, type Connection } from "./connection.ts";
import type { Secrets } from "./credentials.ts";
import { CredentialRequired } from "./errors.ts";

/** What a connection would be. */
export interface Candidate {
  readonly baseUrl: string;
  readonly authMethod: string;
  readonly recipe: Recipe;
  readonly params: Readonly<Record<string, string>>;
  /** Undefined as long as nobody has signed in. */
  readonly secrets: Secrets | undefined;
}

/** What somebody gives to sign in, by the names of fields. */
export interface Given {
  readonly params: Readonly<Record<string, string>>;
  readonly credentials: Secrets;
}

/** The integration, if it is known. */
export function requireIntegration(integration: Integration | undefined): Integration {
  if (integration === undefined) throw new UnknownIntegration();
  return integration;
}

/** A connection with an API key: a Bearer token, whatever its integration is. */
export function withApiKey(apiKey: string, baseUrl: string): Candidate & { readonly secrets: Secrets } {
  requireSendable(apiKey);
  const { method } = bearerRecipe;
  return { baseUrl, authMethod: method.id, recipe: bearerRecipe, params: {}, secrets: { token: apiKey } };
}

/** A connection by one of the integration's methods. By OAuth, its secrets come when somebody signs in. */
export function withMethod(
  integration: Integration,
  methodId: string,
  given: Given & { readonly baseUrl?: string | undefined },
): Candidate {
  const method = methodOf(integration, methodId);
  const { params, credentials, baseUrl } = given;
  const prepared = prepare(integration, method, { baseUrl, values: { ...params, ...credentials } });
  const twice = Object.keys(params).find((name) => Object.hasOwn(credentials, name));
  if (twice !== undefined)
    throw new InvalidRequest(`${twice}: give it in credentials or in params, and not in both`);
  if (method.type !== "oauth2") return { authMethod: method.id, ...prepared };
  const [secret] = Object.keys(prepared.secrets);
  if (secret !== undefined) {
    throw new InvalidRequest(
      `${secret}: ${method.id} takes no secret here; its connections sign in by OAuth`,
    );
  }
  return { authMethod: method.id, ...prepared, secrets: undefined };
}

/** What an update gives of what calls depend on. */
export interface CallChanges {
  readonly baseUrl?: string | undefined;
  readonly apiKey?: string | undefined;
  readonly params?: Readonly<Record<string, string>> | undefined;
  readonly credentials?: Secrets | undefined;
}

/** Whether the update stores another credential. */
export function storesCredential({ apiKey, credentials }: CallChanges): boolean {
  return apiKey !== undefined || credentials !== undefined;
}

type Known = Pick<Connection, "integration" | "authMethod" | "baseUrl" | "recipe" | "params">;

/** The connection as it is after the update. `secrets` are those that it has. */
export function updated(
  known: Known,
  changes: CallChanges,
  { integration, secrets }: { integration: Integration | undefined; secrets: Secrets | undefined },
): Candidate {
  const { apiKey, params, credentials } = changes;
  if (apiKey !== undefined && (params ?? credentials) !== undefined) {
    throw new InvalidRequest("apiKey: it excludes params and credentials; give the one or the others");
  }
  if (apiKey !== undefined) return withApiKey(apiKey, changes.baseUrl ?? known.baseUrl);
  if (params === undefined && credentials === undefined) {
    const { authMethod, recipe } = known;
    return { authMethod, recipe, params: known.params, baseUrl: changes.baseUrl ?? known.baseUrl, secrets };
  }
  const found = requireIntegration(integration);
  const method = methodOf(found, known.authMethod);
  const isOwnUrl = (method.baseUrl ?? found.baseUrl) === undefined;
  const baseUrl = changes.baseUrl ?? (isOwnUrl ? known.baseUrl : undefined);
  if (credentials === undefined) {
    // Tokens are no fields of the method.
    const given = method.type === "oauth2" ? {} : (secrets ?? {});
    const next = withMethod(found, method.id, { baseUrl, params: params ?? {}, credentials: given });
    if (secrets !== undefined) requireSameReach(known.recipe, next.recipe);
    return { ...next, secrets };
  }
  if (method.type === "oauth2") {
    throw new InvalidRequest(`credentials: ${method.id} takes none; start an authorization to sign in again`);
  }
  const kept = Object.entries(known.params).filter(([name]) => !Object.hasOwn(credentials, name));
  return withMethod(found, method.id, { baseUrl, params: params ?? Object.fromEntries(kept), credentials });
}

/**
 * Refuses a base URL that the integration does not let its connections choose. Whoever signs in is shown the integration,
 * and their token goes there.
 */
export function requireOwnBaseUrl(
  { authMethod, params }: Known,
  baseUrl: string,
  integration: Integration | undefined,
): void {
  const found = requireIntegration(integration);
  prepare(found, methodOf(found, authMethod), { baseUrl, values: params });
}

/** A stored secret goes where it went when it was stored, though its integration may have changed since. */
function requireSameReach(before: Recipe, after: Recipe): void {
  const reach = ({ allowedHosts, method }: Recipe) => [
    allowedHosts,
    method.type,
    method.inject,
    method.oauth2,
  ];
  if (isDeepStrictEqual(reach(before), reach(after))) return;
  if (after.method.type === "oauth2") {
    throw new CredentialRequired(
      "params: the grant was given for another place than they lead to; make another connection and sign in there",
    );
  }
  throw new CredentialRequired(
    "credentials: the integration changed since they were stored; give them again with the params",
  );
}
