import * as oauth from "oauth4webapi";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { OAuth2Method } from "#src/integrations/integration.ts";
import type { Connection } from "../connection.ts";
import type { StoredCredential } from "../store.ts";
import { clientAuthentication } from "./client.ts";
import type { Exchange } from "./fetch.ts";
import { openGrant, type GrantSecrets } from "./grant-secrets.ts";
import { normalise } from "./normalise.ts";
import { oauth2Of, type AsParty } from "./party.ts";
import { shown, TokenFailure } from "./token-failure.ts";
import { secretOf, type TokenParty } from "./tokens.ts";

/** What became of the tokens of a deleted connection, at the service. */
export interface Revocation {
  readonly outcome: "REVOKED" | "FAILED" | "NOT_SUPPORTED";
  /** Why it failed, for people. */
  readonly reason?: string;
}

/** A connection that was deleted, and what it held, still sealed. */
export interface Deleted {
  readonly connection: Connection;
  readonly credential: StoredCredential | undefined;
  readonly wrappedKey: Buffer | null;
}

/** Ends the tokens of a deleted connection at the service; undefined for a connection without OAuth. Never throws. */
export type Revoke = (deleted: Deleted) => Promise<Revocation | undefined>;

export function createRevoke(parts: { keyring: Keyring; asParty: AsParty; exchange: Exchange }): Revoke {
  const { keyring, asParty, exchange } = parts;

  return async ({ connection, credential, wrappedKey }) => {
    if (oauth2Of(connection) === undefined || credential === undefined) return undefined;
    try {
      const secrets = await openGrant(keyring, connection, { credential, wrappedKey });
      return await asParty(connection, (party) => revokeAt(exchange, party, secrets));
    } catch (error) {
      // What is not foreseen says nothing that may be shown; the connection is gone in any case.
      const reason = error instanceof TokenFailure ? error.message : "it could not be asked for";
      return { outcome: "FAILED", reason };
    }
  };
}

async function revokeAt(exchange: Exchange, party: TokenParty, secrets: GrantSecrets): Promise<Revocation> {
  const { method } = party;
  if (method.revocation !== undefined) {
    await revokeInItsWay(exchange, party, method.revocation, secrets);
  } else if (method.revocationUrl !== undefined) {
    await revokeByStandard(exchange, party, method.revocationUrl, secrets);
  } else {
    return { outcome: "NOT_SUPPORTED" };
  }
  return { outcome: "REVOKED" };
}

/** RFC 7009. With the refresh token, the access tokens of its grant end as well. */
async function revokeByStandard(exchange: Exchange, party: TokenParty, url: string, secrets: GrantSecrets) {
  const { orgId, method, client } = party;
  const { refreshToken } = secrets;
  const server = { issuer: url, revocation_endpoint: url.replace(/^http:/, "https:") };
  const response = await oauth.revocationRequest(
    server,
    { client_id: client.clientId },
    clientAuthentication(method, client, url),
    refreshToken ?? secrets.accessToken,
    {
      additionalParameters: {
        token_type_hint: refreshToken === undefined ? "access_token" : "refresh_token",
      },
      [oauth.customFetch]: async (_, { headers, body }) => {
        const reply = await exchange({ share: orgId, url, method: "POST", headers, body: body.toString() });
        return new Response(new Uint8Array(reply.body), {
          status: reply.status === 204 ? 200 : reply.status,
          headers: { "content-type": reply.headers["content-type"] ?? "application/json" },
        });
      },
    },
  );
  try {
    await oauth.processRevocationResponse(response);
  } catch (error) {
    const sent = [...Object.values(secrets), ...secretOf(party)];
    const code = error instanceof oauth.ResponseBodyError ? ` (${shown(error.error, sent)})` : "";
    throw new TokenFailure("refused", `${hostOf(url)} answered with status ${response.status}${code}`);
  }
}

/** Services that revoke in a way of their own. */
async function revokeInItsWay(
  exchange: Exchange,
  { orgId, client, method }: TokenParty,
  { style, url: template, auth }: NonNullable<OAuth2Method["revocation"]>,
  { accessToken, refreshToken }: GrantSecrets,
): Promise<void> {
  const url = template.replaceAll(/\{client_?[iI]d\}/g, encodeURIComponent(client.clientId));
  const headers: Record<string, string> = { accept: "application/json" };
  if (auth === "bearer") headers["authorization"] = `Bearer ${accessToken}`;
  else await authenticate(headers, method, client, url);
  const token = refreshToken ?? accessToken;
  const bodies = {
    get: undefined,
    post: new URLSearchParams({ token }).toString(),
    "post-json": JSON.stringify({ token }),
    delete: JSON.stringify({ access_token: accessToken }),
  };
  // A bearer has the token revoked that it comes with, and some services refuse a body beside it.
  const body = auth === "bearer" ? undefined : bodies[style];
  if (body !== undefined)
    headers["content-type"] = style === "post" ? "application/x-www-form-urlencoded" : "application/json";
  const verb = { get: "GET", post: "POST", "post-json": "POST", delete: "DELETE" }[style];
  const reply = await exchange({
    share: orgId,
    url,
    method: verb,
    headers,
    ...(body !== undefined && { body }),
  });
  const answer = { status: reply.status, contentType: "", body: reply.body.toString() };
  // Some say with status 200 that they did not do it.
  if (normalise(answer, method.responseQuirks).status >= 300)
    throw new TokenFailure("refused", `${hostOf(url)} refused, with status ${reply.status}`);
}

async function authenticate(
  headers: Record<string, string>,
  method: TokenParty["method"],
  client: TokenParty["client"],
  url: string,
): Promise<void> {
  const given = new Headers();
  const authentication = clientAuthentication({ ...method, clientAuthentication: "basic" }, client, url);
  await authentication({ issuer: url }, { client_id: client.clientId }, new URLSearchParams(), given);
  const authorization = given.get("authorization");
  if (authorization !== null) headers["authorization"] = authorization;
}

function hostOf(url: string): string {
  return new URL(url).host;
}
