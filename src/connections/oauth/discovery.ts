import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import type { OAuth2Method } from "#src/integrations/integration.ts";
import type { Exchange } from "./fetch.ts";
import { shown, TokenFailure } from "./token-failure.ts";

/** Fills in the endpoints that an integration leaves to the service to say (RFC 8414). Throws `TokenFailure`. */
export type Discover = (orgId: string, method: OAuth2Method) => Promise<DiscoveredMethod>;

/** How OAuth is spoken with a service, with all that it says itself. */
export interface DiscoveredMethod extends OAuth2Method {
  /** It promises to name itself when it sends a person back (RFC 9207). */
  readonly namesItself?: boolean;
  /** The endpoints that it names, and its integration does not. */
  readonly saysItself?: readonly string[];
}

const rememberedMs = 60 * 60_000;

/** What a service says of its endpoints is believed for at most an hour. */
export function createDiscover(exchange: Exchange, monotonicNow: () => number): Discover {
  const known = new LRUCache<string, { at: number; metadata: Metadata }>(upTo(1_000));

  async function metadataOf(orgId: string, issuer: string): Promise<Metadata> {
    // By organisation, as the address rules of one share's look-ups are not those of another.
    const id = `${orgId} ${issuer}`;
    const found = known.get(id);
    if (found !== undefined && monotonicNow() - found.at < rememberedMs) return found.metadata;
    const metadata = await ask(exchange, orgId, issuer);
    known.set(id, { at: monotonicNow(), metadata });
    return metadata;
  }

  return async (orgId, method) => {
    const { issuer } = method;
    if (method.discover !== true || issuer === undefined) return method;
    const metadata = await metadataOf(orgId, issuer);
    const found: Partial<Record<keyof typeof endpoints, string>> = Object.fromEntries(
      Object.entries(endpoints).flatMap(([field, name]) => {
        const url = metadata[name];
        return typeof url === "string" ? [[field, endpoint(url, name, issuer)]] : [];
      }),
    );
    const integrations = new Set(Object.keys(method));
    return {
      // What the integration names itself is not asked of the service.
      saysItself: Object.entries(found).flatMap(([field, url]) => (integrations.has(field) ? [] : [url])),
      ...found,
      ...method,
      namesItself: metadata[sendsIssuer] === true,
    };
  };
}

type Metadata = Readonly<Record<string, unknown>>;

const longestUrl = 2_048;
const sendsIssuer = "authorization_response_iss_parameter_supported";

const endpoints = {
  authorizationUrl: "authorization_endpoint",
  tokenUrl: "token_endpoint",
  revocationUrl: "revocation_endpoint",
  deviceAuthorizationUrl: "device_authorization_endpoint",
} as const;
const read = [...Object.values(endpoints), sendsIssuer];

async function ask(exchange: Exchange, orgId: string, issuer: string): Promise<Metadata> {
  for (const url of placesOf(issuer)) {
    const headers = { accept: "application/json" };
    const reply = await exchange({ share: orgId, url, method: "GET", headers });
    if (reply.status === 200) return metadataIn(reply.body.toString(), issuer);
  }
  throw new TokenFailure("unavailable", `${hostOf(issuer)} does not say its endpoints (RFC 8414)`);
}

/** Of OpenID Connect behind the issuer's path, of RFC 8414 in front of it. */
function placesOf(issuer: string): string[] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, "");
  return [
    `${origin}${path}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${path}`,
  ];
}

function metadataIn(body: string, issuer: string): Metadata {
  const metadata = parsed(body);
  // Otherwise one service could speak for another, and get its codes and secrets.
  if (metadata?.["issuer"] !== issuer) {
    const other = shown(metadata?.["issuer"]) || "no issuer";
    throw new TokenFailure("unusable", `${hostOf(issuer)} says that it is ${other}, and not ${issuer}`);
  }
  // The rest may be long, and is remembered for nothing.
  return Object.fromEntries(
    read.flatMap((name): [string, unknown][] => (isShort(metadata[name]) ? [[name, metadata[name]]] : [])),
  );
}

function isShort(value: unknown): boolean {
  return typeof value === "boolean" || (typeof value === "string" && value.length <= longestUrl);
}

function parsed(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Its address is checked when it is called; here, that it is one, and no less protected than the issuer. */
function endpoint(url: string, name: string, issuer: string): string {
  const { protocol } = URL.parse(url) ?? {};
  if (protocol === "https:" || (protocol === "http:" && issuer.startsWith("http:"))) return url;
  throw new TokenFailure("unusable", `${hostOf(issuer)} names no https URL as ${name}`);
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? "the issuer";
}
