import { timingSafeEqual } from "node:crypto";
import { ServiceError } from "#src/platform/errors.ts";
import type { Page, PageAnswer, PageRequest } from "#src/platform/page.ts";
import type { Complete, Completed } from "./complete.ts";
import { redirectUri, type PageParts } from "./connect.ts";
import { browserIn, cookieAfter } from "./cookie.ts";
import { secretOf } from "./flow.ts";
import { hashOf, keyOfFlow, takeFlow, type Flow } from "./flow-store.ts";
import { lockGrant, type Grant } from "./grant-store.ts";
import { messagePage } from "./html.ts";
import { mayGoOn } from "./instigator.ts";
import { shown, TokenFailure } from "./token-failure.ts";
import type { AskForTokens, TokenParty, Tokens } from "./tokens.ts";

type Asked = Grant["connection"];

/** An authorization that ends without a token, in words for the person. */
class Refused extends Error {
  readonly status: number;

  constructor(message: string, status = 400) {
    super(message);
    this.status = status;
  }
}

/** Where services send people back to. */
export function createCallbackPage(parts: PageParts & { ask: AskForTokens; complete: Complete }): Page {
  const { database, keyring, asParty, ask, complete, publicUrl, now } = parts;

  /** Before anything is looked at: a state is good once, whatever comes with it. */
  async function take(state: string): Promise<Flow> {
    const flow = await database.system((tx) => takeFlow(tx, hashOf(state), "callback"));
    if (flow === undefined) throw new Refused(notBegun);
    return flow;
  }

  async function load(flow: Flow) {
    return database.record(flow.orgId, async (tx) => {
      const grant = await lockGrant(tx, { orgId: flow.orgId, id: flow.connectionId });
      if (grant === undefined) throw new Refused("The connection was deleted meanwhile.", 410);
      if (!(await mayGoOn(tx, flow, grant.connection.environment, now()))) throw new Refused(ended, 410);
      return { connection: grant.connection, wrappedKey: await keyOfFlow(tx, flow) };
    });
  }

  async function exchange(flow: Flow, query: URLSearchParams): Promise<{ asked: Asked; tokens: Tokens }> {
    const { connection, wrappedKey } = await load(flow);
    const verifier = await secretOf(keyring, flow, wrappedKey);
    const tokens = await asParty(connection, (party) => {
      const code = codeIn(query, party);
      const pkce =
        party.method.pkce === "breaks" || verifier === undefined ? {} : { code_verifier: verifier };
      const parameters = { code, redirect_uri: redirectUri(publicUrl), ...pkce };
      return ask(party, { grantType: "authorization_code", parameters });
    });
    return { asked: connection, tokens };
  }

  async function finish(flow: Flow, request: PageRequest, state: string): Promise<Completed> {
    try {
      if (flow.expiresAt <= now()) throw new Refused("It took longer than ten minutes to come back.");
      requireBrowser(flow, browserIn(request.headers.cookie, state), redirectUri(publicUrl));
      const { asked, tokens } = await exchange(flow, request.query);
      return await complete.given(flow, asked, tokens);
    } catch (error) {
      if (!isForPeople(error)) throw error;
      await complete.failed(flow, error.message);
      throw error;
    }
  }

  return {
    methods: ["GET"],
    async answer(request) {
      let flow: Flow | undefined;
      const state = onlyOne(request.query, "state") ?? "";
      try {
        flow = await take(state);
        const completed = await finish(flow, request, state);
        return withoutCookie(state, backTo(flow, "connected") ?? connected(completed));
      } catch (error) {
        if (!isForPeople(error)) throw error;
        const back = flow === undefined ? undefined : backTo(flow, "failed");
        return withoutCookie(state, back ?? failed(statusFor(error), error.message));
      }
    },
  };
}

const ended = "Whoever asked you to connect it may no longer do that.";
const notBegun =
  "Nothing waits for this answer: it was used already, is older than ten minutes, or was not begun here.";

function isForPeople(error: unknown): error is Refused | TokenFailure | ServiceError {
  return error instanceof Refused || error instanceof TokenFailure || error instanceof ServiceError;
}

function statusFor(error: Refused | TokenFailure | ServiceError): number {
  if (error instanceof Refused) return error.status;
  return error instanceof ServiceError && error.kind === "unavailable" ? 503 : 409;
}

/** Another browser's answer would connect another person's account. */
function requireBrowser({ browserHash }: Flow, browser: string | undefined, here: string): void {
  const isSame =
    browser !== undefined && browserHash !== null && timingSafeEqual(hashOf(browser), browserHash);
  if (isSame) return;
  throw new Refused(
    `This browser did not begin it, or does not keep cookies for ${here}. Open the link in one browser, and stay in it.`,
    403,
  );
}

/** The code of an answer that is the service's own. */
function codeIn(query: URLSearchParams, { method }: TokenParty): string {
  const issuer = onlyOne(query, "iss");
  if (issuer === undefined && method.namesItself === true) {
    throw new Refused("The answer does not say which service it is of, although that promises to.");
  }
  if (issuer !== undefined && issuer !== method.issuer) {
    const expected =
      method.issuer === undefined ? "its integration names no issuer" : `${method.issuer} was asked`;
    throw new Refused(`The answer is of ${shown(issuer)}, and ${expected}.`);
  }
  const error = onlyOne(query, "error");
  if (error !== undefined) throw new Refused(inWords(error, onlyOne(query, "error_description")), 409);
  const code = onlyOne(query, "code");
  if (code === undefined) throw new Refused("The service sent neither a code nor an error.");
  return code;
}

function inWords(error: string, description: string | undefined): string {
  if (error === "access_denied")
    return "The service says that access was denied, by you or by a rule of its own.";
  const more = description === undefined ? "" : `: ${shown(description)}`;
  return `The service refused (${shown(error)}${more}).`;
}

/** A parameter that is given twice means one thing here and another there. */
function onlyOne(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name);
  return values.length > 1 ? "" : values[0];
}

function backTo({ returnTo, connectionId }: Flow, status: "connected" | "failed"): PageAnswer | undefined {
  if (returnTo === null) return undefined;
  const url = new URL(returnTo);
  url.searchParams.set("connection_id", connectionId);
  url.searchParams.set("status", status);
  return { status: 303, headers: { "referrer-policy": "no-referrer", location: url.href }, body: "" };
}

function connected({ missingScopes, endsAt }: Completed): PageAnswer {
  return messagePage(200, "Connected", [
    ...(missingScopes.length === 0
      ? []
      : [`The service did not grant all: ${missingScopes.join(", ")} is missing.`]),
    ...(endsAt === undefined
      ? []
      : [
          `The service gave no way to renew it, so it has to be connected again after ${endsAt.toUTCString()}.`,
        ]),
    "You can close this window.",
  ]);
}

function failed(status: number, reason: string): PageAnswer {
  return messagePage(status, "Not connected", [
    reason.replace(/\.?$/, "."),
    "Nothing was stored. Ask whoever sent you the link for a new one.",
  ]);
}

function withoutCookie(state: string, answer: PageAnswer): PageAnswer {
  return { ...answer, headers: { ...answer.headers, "set-cookie": cookieAfter(state) } };
}
