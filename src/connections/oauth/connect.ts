import * as oauth from "oauth4webapi";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Database } from "#src/db/database.ts";
import type { Page, PageAnswer, PageRequest } from "#src/platform/page.ts";
import type { PublicUrl } from "#src/platform/public-url.ts";
import { cookieOf } from "./cookie.ts";
import { newToken, openFlow, withSecret } from "./flow.ts";
import { findFlow, hashOf, insertFlow, nameOfOrganization, takeFlow, type Flow } from "./flow-store.ts";
import { lockGrant, lockWhole, type Grant } from "./grant-store.ts";
import { connectPage, guards, messagePage, redirect } from "./html.ts";
import { mayGoOn } from "./instigator.ts";
import type { AsParty } from "./party.ts";
import { scopeParameter } from "./scopes.ts";
import { TokenFailure } from "./token-failure.ts";
import type { TokenParty } from "./tokens.ts";

/** What the pages of an authorization need. */
export interface PageParts {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly asParty: AsParty;
  readonly publicUrl: PublicUrl;
  readonly now: () => Date;
}

const stateMs = 10 * 60_000;

/** Where services send people back to. */
export function redirectUri(publicUrl: PublicUrl): string {
  return `${publicUrl.current()}/oauth/callback`;
}

/** The page behind a link: shows what it would connect, and sends the person to the service. */
export function createConnectPage(parts: PageParts): Page {
  const { database, keyring, asParty, publicUrl, now } = parts;

  /** The grant is undefined where the link leads nowhere any more. */
  async function load(flow: Flow) {
    return database.record(flow.orgId, async (tx) => {
      const grant = await lockGrant(tx, { orgId: flow.orgId, id: flow.connectionId });
      const isOn = grant !== undefined && (await mayGoOn(tx, flow, grant.connection.environment, now()));
      return { grant: isOn ? grant : undefined, organization: await nameOfOrganization(tx, flow.orgId) };
    });
  }

  /** For the page's script. Looking uses nothing up. */
  async function describe(flow: Flow): Promise<PageAnswer> {
    const { grant, organization } = await load(flow);
    if (grant === undefined) return problem(410, gone);
    const { name, slug, integration } = grant.connection;
    const host = await asParty(grant.connection, ({ method }) =>
      Promise.resolve(URL.parse(method.authorizationUrl ?? "")?.host ?? ""),
    );
    return json(200, {
      organization,
      host,
      service: name ?? slug ?? integration,
      scopes: flow.scopes.join(", ") || "what the service gives without being asked for more",
    });
  }

  async function begin(link: Flow, grant: Grant): Promise<PageAnswer> {
    const [state, browser, verifier] = [newToken(), newToken(), oauth.generateRandomCodeVerifier()];
    const location = await asParty(grant.connection, (party) =>
      authorizationUrl(party, { state, verifier, scopes: link.scopes, redirectUri: redirectUri(publicUrl) }),
    );
    const expiresAt = new Date(now().getTime() + stateMs);
    const flow: Flow = {
      ...openFlow(state, "callback", { ...link, expiresAt }),
      browserHash: hashOf(browser),
    };
    // Not before all is ready, and together: a link that was taken cannot be opened again.
    const isBegun = await keyring.sealing(link.orgId, (sealer) =>
      database.record(link.orgId, async (tx) => {
        const isThere = await lockWhole(tx, { orgId: link.orgId, id: link.connectionId });
        const taken = isThere && (await takeFlow(tx, link.tokenHash, "link"));
        if (taken === undefined) return false;
        await insertFlow(tx, await withSecret(sealer, tx, flow, verifier), now());
        return true;
      }),
    );
    if (!isBegun) return messagePage(410, "The link cannot be used", [gone]);
    return redirect(location, cookieOf(state, browser, publicUrl.current(), stateMs / 1000));
  }

  async function submit({ form, headers }: PageRequest): Promise<PageAnswer> {
    const isLook = form.has("look");
    const refuse = (status: number, text: string) =>
      isLook ? problem(status, text) : messagePage(status, "The link cannot be used", [text]);
    if (!isFromOurPage(headers, publicUrl.current())) return refuse(403, elsewhere(publicUrl.current()));
    const tokenHash = hashOf(form.get("token") ?? "");
    const link = await database.system((tx) => findFlow(tx, tokenHash, "link"));
    if (link === undefined || link.expiresAt <= now()) return refuse(410, gone);
    try {
      if (isLook) return await describe(link);
      const { grant } = await load(link);
      return grant === undefined ? refuse(410, gone) : await begin(link, grant);
    } catch (error) {
      if (error instanceof TokenFailure) return refuse(409, `${error.message}.`);
      throw error;
    }
  }

  return {
    methods: ["GET", "POST"],
    answer: (request) => (request.method === "POST" ? submit(request) : Promise.resolve(connectPage)),
  };
}

const gone = "The link was used, has expired, or is not whole. Ask whoever sent it to you for a new one.";

/** A page of another origin could otherwise send a person past the question, into an organisation that is not theirs. */
function isFromOurPage(headers: PageRequest["headers"], ours: string): boolean {
  const site = headers["sec-fetch-site"];
  // A form of a page without referrers has no origin to say.
  if (site !== undefined) return site === "same-origin" && isOneOf(headers.origin, [undefined, "null", ours]);
  return isOneOf(headers.origin, [undefined, ours]);
}

function isOneOf(value: string | undefined, allowed: readonly (string | undefined)[]): boolean {
  return allowed.includes(value);
}

function elsewhere(ours: string): string {
  return (
    `This page is not at ${ours}, which is where services send people back to. Open the link as it was sent; if this ` +
    "is the right address, its operator sets it as PATCHBAY_PUBLIC_URL."
  );
}

async function authorizationUrl(
  { method, client }: TokenParty,
  wanted: { state: string; verifier: string; scopes: readonly string[]; redirectUri: string },
): Promise<string> {
  const url = URL.parse(method.authorizationUrl ?? "");
  if (url === null) throw new TokenFailure("unavailable", "the integration names no authorization URL");
  const challenge =
    method.pkce === "breaks"
      ? {}
      : {
          code_challenge: await oauth.calculatePKCECodeChallenge(wanted.verifier),
          code_challenge_method: "S256",
        };
  const parameters = {
    ...method.extraAuthorizationParameters,
    ...scopeParameter(method, wanted.scopes),
    ...challenge,
    response_type: "code",
    client_id: client.clientId,
    redirect_uri: wanted.redirectUri,
    state: wanted.state,
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

function json(status: number, body: object): PageAnswer {
  return { status, headers: { ...guards, "content-type": "application/json" }, body: JSON.stringify(body) };
}

function problem(status: number, error: string): PageAnswer {
  return json(status, { error });
}
