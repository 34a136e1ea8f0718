import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Database } from "#src/db/database.ts";
import type { OAuth2Method } from "#src/integrations/integration.ts";
import { callOf, callerOf, type Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { PublicUrl } from "#src/platform/public-url.ts";
import { requireChangeable } from "../access.ts";
import type { Connection } from "../connection.ts";
import { getConnection, getConnectionForUpdate } from "../store.ts";
import type { AskForDevice } from "./device.ts";
import { AuthorizationFailed } from "./errors.ts";
import { newToken, openFlow, withSecret, type Carried } from "./flow.ts";
import { insertFlow, type Flow } from "./flow-store.ts";
import { requestedScopesOf } from "./grant-store.ts";
import { oauth2Of, type AsParty } from "./party.ts";
import { isOfClient } from "./refresh-rules.ts";
import { TokenFailure } from "./token-failure.ts";

const defaultLinkSeconds = 600;

/** What starting an authorization needs. */
export interface AuthorizeParts {
  readonly database: Database;
  readonly change: Change;
  readonly keyring: Keyring;
  readonly asParty: AsParty;
  readonly askForDevice: AskForDevice;
  readonly publicUrl: PublicUrl;
  /** Where people may be sent afterwards. */
  readonly oauthReturnOrigins: readonly string[];
  readonly now: () => Date;
}

/** Answers a link, or a code, with which a person connects a service. */
export function createStartAuthorization(
  parts: AuthorizeParts,
): ServiceImpl<typeof ConnectionService>["startAuthorization"] {
  const { database, change, keyring, asParty, askForDevice, publicUrl, now } = parts;

  async function load(caller: Caller, id: string) {
    return database.read(caller.orgId, async (tx) => {
      const connection = requireChangeable(caller, await getConnection(tx, caller, id));
      return { connection, before: await requestedScopesOf(tx, { orgId: caller.orgId, id }) };
    });
  }

  async function link(carried: Carried) {
    const token = newToken();
    // In the fragment, which browsers do not send: no server, proxy or log on the way sees it.
    const url = `${publicUrl.current()}/connect#${token}`;
    return { flow: openFlow(token, "link", carried), secret: undefined, answer: { url } };
  }

  /** Codes are asked for at once, so the link is the service's own, and no browser comes here. */
  async function device(connection: Connection, carried: Carried) {
    const asked = await asParty(connection, (party) => askForDevice(party, carried.scopes)).catch(toFailure);
    const expiresAt = new Date(now().getTime() + asked.expiresInSeconds * 1000);
    const flow: Flow = {
      ...openFlow(asked.deviceCode, "device", { ...carried, expiresAt }),
      pollAt: new Date(now().getTime() + asked.pollSeconds * 1000),
      pollSeconds: asked.pollSeconds,
    };
    return { flow, secret: asked.deviceCode, answer: { url: asked.url, userCode: asked.userCode } };
  }

  return async (request, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    requireScopes(request.scopes);
    const returnTo = request.returnTo === undefined ? null : returnAddress(parts, request.returnTo);
    const { connection, before } = await load(caller, request.id);
    const method = methodFor(connection);
    const seconds = request.linkSeconds ?? defaultLinkSeconds;
    const carried: Carried = {
      orgId: caller.orgId,
      connectionId: connection.id,
      userId: caller.userId ?? null,
      apiKeyId: caller.via.id,
      scopes: [...scopesFor(request.scopes, before, method)],
      returnTo,
      expiresAt: new Date(now().getTime() + seconds * 1000),
    };
    // Before a person is asked to do what cannot succeed.
    if (method.grant !== "device_code") await asParty(connection, () => Promise.resolve()).catch(toFailure);
    const started = await (method.grant === "device_code" ? device(connection, carried) : link(carried));
    await keyring.sealing(caller.orgId, (sealer) =>
      change(call, async (tx) => {
        const { flow, secret } = started;
        // Locked, as it may have been deleted while the service was asked.
        requireChangeable(caller, await getConnectionForUpdate(tx, caller, connection.id));
        await insertFlow(tx, secret === undefined ? flow : await withSecret(sealer, tx, flow, secret), now());
        await append(tx, call, {
          action: "connection.authorize",
          target: connection.id,
          details: {
            outcome: "STARTED",
            by: flow.stage,
            requestedScopes: flow.scopes,
            returnTo,
            expiresAt: flow.expiresAt.toISOString(),
          },
        });
      }),
    );
    return { ...started.answer, expiresAt: timestampFromDate(started.flow.expiresAt) };
  };
}

function methodFor(connection: Connection): OAuth2Method {
  const method = oauth2Of(connection);
  if (method === undefined) {
    const { type } = connection.recipe.method;
    throw new AuthorizationFailed(`connection ${connection.id} signs in by ${type}, and not with OAuth 2.0`);
  }
  if (isOfClient(method)) {
    throw new AuthorizationFailed(
      `connection ${connection.id} gets tokens for the OAuth client itself; call it, no person is needed`,
    );
  }
  return method;
}

function scopesFor(given: readonly string[], before: readonly string[], { defaultScopes }: OAuth2Method) {
  if (given.length > 0) return given;
  return before.length > 0 ? before : defaultScopes;
}

/** As RFC 6749, 3.3 has them: anything else would be read as several, or as none. */
function requireScopes(scopes: readonly string[]): void {
  if (scopes.every((scope) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope))) return;
  throw new InvalidRequest(
    "scopes: give each by itself, in visible ASCII without quotes, backslashes and spaces",
  );
}

/** An open redirect would lend the deployment's good name to whoever makes a link. */
function returnAddress(
  { oauthReturnOrigins }: Pick<AuthorizeParts, "oauthReturnOrigins">,
  given: string,
): string {
  const url = URL.parse(given);
  const isPlain =
    url !== null && url.username === "" && url.password === "" && /^https?:$/.test(url.protocol);
  if (isPlain && oauthReturnOrigins.includes(url.origin)) return url.href;
  const origins = oauthReturnOrigins.length === 0 ? "none" : oauthReturnOrigins.join(", ");
  throw new InvalidRequest(
    `returnTo: give a URL of an origin in PATCHBAY_OAUTH_RETURN_ORIGINS, which has ${origins}; without returnTo, ` +
      "the person is shown a page",
  );
}

function toFailure(error: unknown): never {
  throw error instanceof TokenFailure ? new AuthorizationFailed(error.message) : error;
}
