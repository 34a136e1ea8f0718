import * as oauth from "oauth4webapi";
import type { OAuth2Method } from "#src/integrations/integration.ts";
import { clientAuthentication, type OAuthClient } from "./client.ts";
import type { DiscoveredMethod } from "./discovery.ts";
import type { Exchange } from "./fetch.ts";
import { normalise } from "./normalise.ts";
import { shown, TokenFailure } from "./token-failure.ts";

/** What a token endpoint gave. */
export interface Tokens {
  readonly accessToken: string;
  /** Absent where there is none, or where the previous one goes on. */
  readonly refreshToken: string | undefined;
  /** Undefined where the service does not say. */
  readonly expiresInSeconds: number | undefined;
  readonly refreshExpiresInSeconds: number | undefined;
  /** Undefined where the service does not say what it granted. */
  readonly scopes: readonly string[] | undefined;
  /** All members of the answer, for what an integration reads from it beside. */
  readonly answer: Readonly<Record<string, unknown>>;
}

/** Who asks, and how the service wants to be asked. */
export interface TokenParty {
  readonly orgId: string;
  readonly method: DiscoveredMethod;
  readonly client: OAuthClient;
}

/** The secret of the client, if it has one. */
export function secretOf({ client }: Pick<TokenParty, "client">): readonly string[] {
  return client.secret === undefined ? [] : [client.secret.reveal().toString()];
}

/** A grant, as its parameters say. */
export interface TokenRequest {
  readonly grantType: string;
  readonly parameters: Readonly<Record<string, string>>;
  /** Instead of the token endpoint. */
  readonly url?: string | undefined;
}

/** Asks a token endpoint. Throws `TokenFailure`. */
export type AskForTokens = (party: TokenParty, request: TokenRequest) => Promise<Tokens>;

export function createAskForTokens(exchange: Exchange): AskForTokens {
  return async (party, { grantType, parameters, url = party.method.tokenUrl }) => {
    const { method, client } = party;
    if (url === undefined) throw new TokenFailure("unavailable", "the integration names no token endpoint");
    // Whether a URL without TLS may be asked is for our address rules to say: the library would refuse every one.
    const server = { issuer: url, token_endpoint: url.replace(/^http:/, "https:") };
    const authentication = clientAuthentication(method, client, url);
    try {
      const response = await oauth.genericTokenEndpointRequest(
        server,
        { client_id: client.clientId },
        authentication,
        grantType,
        { ...method.extraTokenParameters, ...parameters },
        { [oauth.customFetch]: fetchOf(party, exchange, url) },
      );
      const answer = await oauth.processGenericTokenEndpointResponse(
        server,
        { client_id: client.clientId },
        response,
      );
      return tokensOf(answer, method, new URL(url).host);
    } catch (error) {
      throw asTokenFailure(error, new URL(url).host, [...Object.values(parameters), ...secretOf(party)]);
    }
  };
}

/** The library's way out: our address rules and caps, and what the integration admits of its answers. */
function fetchOf({ orgId, method }: TokenParty, exchange: Exchange, url: string) {
  return async (_: string, { headers, body }: oauth.CustomFetchOptions<"POST", URLSearchParams>) => {
    const reply = await exchange({ share: orgId, url, method: "POST", headers, body: body.toString() });
    const raw = {
      status: reply.status,
      contentType: reply.headers["content-type"] ?? "",
      body: reply.body.toString(),
    };
    const normal = normalise(raw, method.responseQuirks, method.tokenPath);
    if (normal.body === undefined) {
      throw new TokenFailure(
        "unusable",
        `${new URL(url).host} answered with status ${raw.status} and ${kindOf(raw)} instead of JSON`,
      );
    }
    return Response.json(normal.body, { status: normal.status });
  };
}

function kindOf({ contentType, body }: { contentType: string; body: string }): string {
  if (body === "") return "nothing";
  return shown(contentType.split(";", 1)[0]) || "a body without a type";
}

function tokensOf(
  answer: oauth.TokenEndpointResponse,
  { scopeSeparator }: OAuth2Method,
  host: string,
): Tokens {
  const { access_token: accessToken, refresh_token: refreshToken, expires_in: expiresIn, scope } = answer;
  if (!isToken.test(accessToken) || (refreshToken && !isToken.test(refreshToken))) {
    throw new TokenFailure(
      "unusable",
      `${host} answered with a token that is not visible ASCII of less than 64 KiB`,
    );
  }
  return {
    accessToken,
    refreshToken: refreshToken === "" ? undefined : refreshToken,
    expiresInSeconds: positive(expiresIn),
    refreshExpiresInSeconds: positive(answer["refresh_token_expires_in"]),
    scopes: scope?.split(scopeSeparator === "," ? /[ ,]+/ : / +/).filter((one) => one !== ""),
    answer: { ...answer },
  };
}

/** As RFC 6749, A.12 and A.17 have tokens. */
const isToken = /^[\x20-\x7e]{1,65535}$/;
/** 100 years. What ends later than dates go could not be stored, and the token would be lost with it. */
const longestSeconds = 100 * 365 * 24 * 60 * 60;

/** A lifetime of nothing would be a refresh before each call: it is not known then. */
function positive(seconds: unknown): number | undefined {
  const number = Number(seconds);
  return seconds !== undefined && number > 0 ? Math.min(longestSeconds, number) : undefined;
}

function asTokenFailure(error: unknown, host: string, secrets: readonly string[]): unknown {
  if (error instanceof oauth.ResponseBodyError) {
    const { error: code, error_description: description } = error;
    const text = [code, description].map((part) => shown(part, secrets));
    return new TokenFailure("refused", `${host} refused: ${text.filter((part) => part !== "").join(", ")}`, {
      code,
    });
  }
  // What the library does not accept is told by its code alone: its message and cause hold the answer.
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError) {
    return new TokenFailure("unusable", `${host} answered, but not with a token as RFC 6749 has it`);
  }
  return error;
}
