import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { OAuth2Method, Template } from "#src/integrations/integration.ts";
import { isObject } from "#src/json/object.ts";
import { present } from "#src/platform/present.ts";
import type { Way } from "./security-schemes.ts";
import { resolveUrl } from "./servers.ts";
import { textOf } from "./text.ts";

/** What schemes of OAuth are read with. */
export interface OAuthContext {
  /** What URLs are relative to. */
  readonly baseUrl: Template | undefined;
  /** What the document's server variables are called in templates. */
  readonly names: ReadonlyMap<string, string>;
  /** Those that some operation asks for. */
  readonly scopes: readonly string[];
  /** Says what of the scheme is left out, by the names of members that lead to it. */
  readonly omit: (at: readonly string[], reason: string) => void;
}

/** The ways to sign in by a scheme of the types `oauth2` and `openIdConnect`, or why there is none. */
export function oauthWays(scheme: JsonObject, context: OAuthContext): readonly Way[] | string {
  if (scheme["type"] === "openIdConnect")
    return discovered(scheme["openIdConnectUrl"], "OpenID Connect", context);
  const flows = isObject(scheme["flows"]) ? scheme["flows"] : {};
  const ways = Object.entries(flows).flatMap(([name, flow]) =>
    isObject(flow) ? wayOf(name, flow, context) : [],
  );
  const [only] = ways;
  if (only !== undefined && ways.length === 1)
    return [{ ...only, suffix: undefined }].map((way) => present(way));
  if (ways.length > 0) return ways;
  if (scheme["oauth2MetadataUrl"] !== undefined)
    return discovered(scheme["oauth2MetadataUrl"], "OAuth 2.0", context);
  return "has no flow by which a connection can sign in";
}

const known = {
  authorizationCode: { grant: "authorization_code", label: "OAuth 2.0", suffix: "code", refresh: "rotating" },
  clientCredentials: {
    grant: "client_credentials",
    label: "OAuth 2.0, client credentials",
    suffix: "client-credentials",
    refresh: "none",
  },
  deviceAuthorization: {
    grant: "device_code",
    label: "OAuth 2.0, by a code on another device",
    suffix: "device",
    refresh: "rotating",
  },
} as const;

const refused: Readonly<Record<string, string>> = {
  implicit: "the flow implicit shows tokens to browsers, and is not supported",
  password: "the flow password gives a user's password to others, and is not supported",
};

function wayOf(name: string, flow: JsonObject, context: OAuthContext): Way[] {
  const found = Object.entries(known).find(([flowName]) => flowName === name)?.[1];
  if (found === undefined) {
    if (!name.startsWith("x-")) context.omit(["flows", name], refused[name] ?? "is not a flow of OpenAPI");
    return [];
  }
  const { grant, label, suffix, refresh } = found;
  const { authorizationUrl, extra } = withoutQuery(urlOf(flow["authorizationUrl"], context));
  const oauth2: OAuth2Method = present({
    grant,
    authorizationUrl: grant === "authorization_code" ? authorizationUrl : undefined,
    tokenUrl: urlOf(flow["tokenUrl"], context),
    refreshUrl: grant === "client_credentials" ? undefined : urlOf(flow["refreshUrl"], context),
    deviceAuthorizationUrl:
      grant === "device_code" ? urlOf(flow["deviceAuthorizationUrl"], context) : undefined,
    ...usual(grant),
    refresh,
    defaultScopes: scopesOf(flow["scopes"], context),
    extraAuthorizationParameters: grant === "authorization_code" ? extra : undefined,
  });
  return [{ type: "oauth2", label, suffix, oauth2, fields: [], inject: withToken }];
}

/** By what the service says of itself, at a place that says its issuer. */
function discovered(value: JsonValue | undefined, label: string, context: OAuthContext): Way[] | string {
  const url = urlOf(value, context) ?? "";
  const [, before, after] = wellKnown.exec(url) ?? [];
  if (before === undefined) {
    return "needs the URL of a document that says the issuer's endpoints, ending in /.well-known/openid-configuration";
  }
  const oauth2: OAuth2Method = {
    grant: "authorization_code",
    issuer: before + (after ?? ""),
    discover: true,
    ...usual("authorization_code"),
    refresh: "rotating",
    defaultScopes: sound(context.scopes.length > 0 || label === "OAuth 2.0" ? context.scopes : ["openid"]),
  };
  return [{ type: "oauth2", label, oauth2, fields: [], inject: withToken }];
}

/** OpenID Connect writes it behind the issuer's path, and RFC 8414 in front of it. */
const wellKnown =
  /^(https?:\/\/[^/?#]+(?=\/\.well-known\/oauth-authorization-server)|https?:\/\/[^?#]+(?=\/\.well-known\/openid-configuration))\/\.well-known\/(?:openid-configuration|oauth-authorization-server(\/[^?#]*)?)$/i;

const withToken = { headers: { Authorization: "Bearer {accessToken}" } };

/** What no document says; `rotating` is the careful guess. Whoever knows more of a service says so, and keeps it with the next import. */
function usual(grant: OAuth2Method["grant"]) {
  return {
    pkce: grant === "authorization_code" ? "supported" : "ignored",
    clientAuthentication: "either",
    scopeSeparator: " ",
    responseQuirks: [],
  } as const;
}

/** What operations need of what the flow gives; all of that where they do not say. */
function scopesOf(value: JsonValue | undefined, { scopes }: OAuthContext): string[] {
  const given = isObject(value) ? Object.keys(value) : [];
  const asked = new Set(scopes);
  const needed = given.filter((scope) => asked.has(scope));
  return sound(needed.length > 0 ? needed : given);
}

const mostScopes = 100;

function sound(scopes: readonly string[]): string[] {
  return scopes.filter((scope) => /^[!#-+\--[\]-~]{1,256}$/.test(scope)).slice(0, mostScopes);
}

function urlOf(value: JsonValue | undefined, { baseUrl, names }: OAuthContext): string | undefined {
  const url = textOf(value)?.trim() ?? "";
  if (url === "") return undefined;
  const named = url.replace(/\{([^{}]*)\}/g, (whole, raw: string) => {
    const name = names.get(raw);
    return name === undefined ? whole : `{${name}}`;
  });
  // One that is relative to nothing stays as it is, and is refused by its name.
  return resolveUrl(named, baseUrl) ?? named;
}

/** A query is given by parameters of their own. */
function withoutQuery(url: string | undefined) {
  const [authorizationUrl, query] = url?.split("?", 2) ?? [];
  const extra =
    query === undefined || query === "" ? undefined : Object.fromEntries(new URLSearchParams(query));
  return { authorizationUrl, extra };
}
