import { sameParameter } from "#src/outbound/parameters.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { requireOneLine, requireTemplate } from "./definition-rules.ts";
import type { OAuth2Method } from "./integration.ts";
import { oauthUrls } from "./oauth-urls.ts";

/** What the protocol says itself: an integration that could say them too could send a grant elsewhere. */
const isReserved = sameParameter([
  "assertion",
  "client_assertion",
  "client_assertion_type",
  "client_id",
  "client_secret",
  "code",
  "code_challenge",
  "code_challenge_method",
  "code_verifier",
  "device_code",
  "grant_type",
  "nonce",
  "password",
  "redirect_uri",
  "refresh_token",
  "request",
  "request_uri",
  "response_type",
  "scope",
  "state",
  "username",
]);

/** What each grant cannot do without, where the issuer is not asked for it. */
const needed: Readonly<Record<OAuth2Method["grant"], readonly string[]>> = {
  authorization_code: ["authorizationUrl", "tokenUrl"],
  client_credentials: ["tokenUrl"],
  account_credentials: ["tokenUrl"],
  device_code: ["deviceAuthorizationUrl", "tokenUrl"],
};

/** Refuses a method that lacks a URL, or that would say what the protocol says. Its URLs are judged elsewhere. */
export function requireOAuth(at: string, oauth2: OAuth2Method, known: readonly string[]): void {
  const urls = oauthUrls(oauth2);
  if (oauth2.discover === true) {
    if (oauth2.issuer === undefined)
      throw new InvalidRequest(`${at}.issuer: give the issuer that is to be asked`);
  } else {
    const missing = needed[oauth2.grant].find((name) => urls[name] === undefined);
    if (missing !== undefined) throw new InvalidRequest(`${at}.${missing}: give it, as the grant needs it`);
  }
  const { extraAuthorizationParameters = {}, extraTokenParameters = {}, scopeParameter } = oauth2;
  if (typeof scopeParameter === "string" && scopeParameter !== "scope" && isReserved(scopeParameter)) {
    throw new InvalidRequest(`${at}.scopeParameter: the protocol has another meaning for ${scopeParameter}`);
  }
  requireParameters(`${at}.extraAuthorizationParameters`, extraAuthorizationParameters, []);
  requireParameters(`${at}.extraTokenParameters`, extraTokenParameters, known);
  for (const [member, pointer] of Object.entries(oauth2.tokenPath ?? {})) {
    if (!/^(?:\/[^/]+)+$/.test(pointer)) {
      throw new InvalidRequest(`${at}.tokenPath.${member}: give a JSON pointer, such as /data/access_token`);
    }
  }
}

function requireParameters(
  at: string,
  parameters: Readonly<Record<string, string>>,
  known: readonly string[],
): void {
  for (const [name, text] of Object.entries(parameters)) {
    if (isReserved(name)) {
      throw new InvalidRequest(`${at}.${name}: the protocol says this itself; leave it out`);
    }
    requireOneLine(at, name);
    requireOneLine(`${at}.${name}`, text);
    requireTemplate(`${at}.${name}`, text, known);
  }
}
