import { bearerRecipe, type AuthMethod, type Integration } from "./integration.ts";
import { builtInNames, isBuiltIn } from "./slug.ts";

const basic: AuthMethod = {
  id: "basic",
  type: "basic",
  label: "User name and password",
  fields: [
    { name: "username", secret: false },
    { name: "password", secret: true, optional: true },
  ],
  inject: { basic: { username: "{username}", password: "{password}" } },
};

const apiKey: AuthMethod = {
  id: "api-key",
  type: "api_key",
  label: "API key in X-API-Key",
  fields: [{ name: "apiKey", secret: true }],
  inject: { headers: { "X-API-Key": "{apiKey}" } },
};

/** The methods of a service of which nothing else is known. */
export const standardMethods: readonly AuthMethod[] = [bearerRecipe.method, basic, apiKey];

/** A sibling product, or a service that the organisation calls by a slug of its own and has said nothing more about. */
export function undescribed(slug: string): Integration {
  const name = isBuiltIn(slug) ? builtInNames[slug] : undefined;
  return { slug, name: name ?? slug, authMethods: standardMethods, version: 0 };
}
