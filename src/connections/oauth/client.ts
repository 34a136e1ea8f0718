import * as oauth from "oauth4webapi";
import type { Environment } from "#src/platform/caller.ts";
import type { Secret } from "#src/platform/secret.ts";
import type { DiscoveredMethod } from "./discovery.ts";
import { TokenFailure } from "./token-failure.ts";

/** What an organisation is registered as at a service. */
export interface OAuthClient {
  readonly clientId: string;
  /** Absent for a public client. Whoever got it wipes it. */
  readonly secret?: Secret | undefined;
  /** The token endpoint that the secret was stored for. */
  readonly boundTo: string;
}

/** Knows the OAuth clients of organisations. */
export interface OAuthClients {
  get(
    viewer: { readonly orgId: string; readonly environment: Environment },
    integration: string,
    authMethod: string,
  ): Promise<OAuthClient | undefined>;
}

/**
 * How the client authenticates. Some servers that take both do not decode what RFC 6749 encodes for Basic, so `either`
 * is the body.
 */
export function clientAuthentication(
  method: DiscoveredMethod,
  client: OAuthClient,
  url: string,
): oauth.ClientAuth {
  if (method.clientAuthentication === "none" || client.secret === undefined) return oauth.None();
  // Of an endpoint that the issuer itself names, its word is good, wherever that is.
  const place = method.saysItself?.includes(url) === true ? (method.issuer ?? url) : url;
  if (!mayReceive(client.boundTo, place)) {
    throw new TokenFailure(
      "unavailable",
      `the client secret was stored for ${originOf(client.boundTo)}, and ${originOf(url)} is another place; ` +
        "store the OAuth client again",
    );
  }
  const secret = client.secret.reveal().toString();
  if (method.clientAuthentication !== "basic") return oauth.ClientSecretPost(secret);
  return method.basicEncoding === "raw" ? rawBasic(secret) : oauth.ClientSecretBasic(secret);
}

/** Without the percent-encoding of RFC 6749, 2.3.1, which some servers never undo. */
function rawBasic(secret: string): oauth.ClientAuth {
  return (_, { client_id }, _body, headers) => {
    headers.set("authorization", `Basic ${Buffer.from(`${client_id}:${secret}`).toString("base64")}`);
  };
}

/**
 * Whether a URL is of the place that a secret was stored for. Refresh and revocation have paths of their
 * own; another origin would be given the secret by whoever changes the integration. A placeholder `{name}` stands for
 * labels in front of its domain, such as a tenant and its region, and `{a|b}` for one of a list.
 */
export function mayReceive(boundTo: string, url: string): boolean {
  const pattern = originOf(boundTo)
    .split(/\{([^{}]*)\}/)
    .map((part, i) => (i % 2 === 0 ? literally(part) : oneOf(part)))
    .join("");
  return pattern !== "" && new RegExp(`^${pattern}$`).test(originOf(url));
}

function oneOf(placeholder: string): string {
  const list = placeholder.split("|");
  return list.length > 1 ? `(?:${list.map(literally).join("|")})` : "[a-z0-9-]+(?:\\.[a-z0-9-]+)*";
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
}

/** As it is written: a placeholder would not survive a URL parser. */
function originOf(url: string): string {
  return /^https?:\/\/[^/?#]+/i.exec(url)?.[0].toLowerCase() ?? "";
}
