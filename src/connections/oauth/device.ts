import * as oauth from "oauth4webapi";
import { clientAuthentication } from "./client.ts";
import type { Exchange } from "./fetch.ts";
import { normalise } from "./normalise.ts";
import { scopeParameter } from "./scopes.ts";
import { shown, TokenFailure } from "./token-failure.ts";
import { secretOf, type TokenParty } from "./tokens.ts";

/** A code that a person types in at the service (RFC 8628). */
export interface DeviceAuthorization {
  readonly deviceCode: string;
  readonly userCode: string;
  /** Where it is typed in; with the code in it already, if the service offers that. */
  readonly url: string;
  readonly expiresInSeconds: number;
  readonly pollSeconds: number;
}

/** Asks the service for a device code. Throws `TokenFailure`. */
export type AskForDevice = (party: TokenParty, scopes: readonly string[]) => Promise<DeviceAuthorization>;

const defaultPollSeconds = 5;
const longestSeconds = 24 * 60 * 60;

export function createAskForDevice(exchange: Exchange): AskForDevice {
  return async (party, scopes) => {
    const { orgId, method, client } = party;
    const url = method.deviceAuthorizationUrl;
    if (url === undefined)
      throw new TokenFailure("unavailable", "the integration names no endpoint for device codes");
    const server = { issuer: url, device_authorization_endpoint: url.replace(/^http:/, "https:") };
    const parameters = { ...method.extraAuthorizationParameters, ...scopeParameter(method, scopes) };
    const self = { client_id: client.clientId };
    const authentication = clientAuthentication(method, client, url);
    const { host } = new URL(url);
    try {
      const response = await oauth.deviceAuthorizationRequest(server, self, authentication, parameters, {
        [oauth.customFetch]: async (_, { headers, body }) => {
          const reply = await exchange({ share: orgId, url, method: "POST", headers, body: body.toString() });
          const contentType = reply.headers["content-type"] ?? "";
          const raw = { status: reply.status, contentType, body: reply.body.toString() };
          const { status, body: members = {} } = normalise(raw, method.responseQuirks);
          return Response.json(members, { status });
        },
      });
      const answer = await oauth.processDeviceAuthorizationResponse(server, self, response);
      return {
        deviceCode: answer.device_code,
        userCode: shown(answer.user_code),
        url: webAddress(answer.verification_uri_complete ?? answer.verification_uri, host),
        expiresInSeconds: Math.min(longestSeconds, answer.expires_in),
        pollSeconds: Math.min(60, Math.ceil(answer.interval ?? defaultPollSeconds)),
      };
    } catch (error) {
      if (error instanceof oauth.ResponseBodyError) {
        throw new TokenFailure("refused", `${host} refused: ${shown(error.error, secretOf(party))}`, {
          code: error.error,
        });
      }
      if (error instanceof oauth.OperationProcessingError) {
        throw new TokenFailure("unusable", `${host} answered, but not with a device code as RFC 8628 has it`);
      }
      throw error;
    }
  };
}

/** A person is sent there, so it must be a page and not a script. */
function webAddress(given: string, host: string): string {
  const url = URL.parse(given);
  if (url !== null && /^https?:$/.test(url.protocol)) return url.href;
  throw new TokenFailure("unusable", `${host} names no web address at which the code could be typed in`);
}
