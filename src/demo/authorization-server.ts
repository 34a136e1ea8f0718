import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/**
 * A service with a sign-in of its own, as OAuth 2.0 has it: a consent page, access tokens that last a minute, refresh
 * tokens that are good once, and `/me`, which says who signed in. For one machine and one person who tries it out: what
 * it knows is gone when it stops.
 */
export interface DemoAuthorizationServer extends AsyncDisposable {
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Where people are sent back to, and nowhere else. Nobody is before it is known. */
  sendBackTo(redirectUri: string): void;
}

/** What a code or a token stands for. */
interface Grant {
  readonly name: string;
  readonly scope: string;
  readonly endsAt: number;
}

interface CodeGrant extends Grant {
  readonly challenge: string;
}

const host = "127.0.0.1";
const tokenSeconds = 60;

/** Starts it on a free port. */
export async function startDemoAuthorizationServer(): Promise<DemoAuthorizationServer> {
  let redirectUri: string | undefined;
  const clientId = "patchbay-demo";
  const clientSecret = newToken();
  const codes = new Map<string, CodeGrant>();
  const accessTokens = new Map<string, Grant>();
  const refreshTokens = new Map<string, Grant>();

  function isRegistered(asked: URLSearchParams): boolean {
    return asked.get("client_id") === clientId && asked.get("redirect_uri") === redirectUri;
  }

  function consentPage(query: URLSearchParams): Reply {
    if (!isRegistered(query)) return page(400, "<p>This is not the client that is registered here.</p>");
    const hidden = [...query].map(
      ([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`,
    );
    return page(
      200,
      `<h1>Demo service</h1><p>Patchbay asks to read your name here.</p><form method="post">${hidden.join("")}
       <p><label>Your name <input name="name" value="Ada" maxlength="40" required></label></p>
       <p><button name="decision" value="allow">Allow</button>
       <button name="decision" value="deny">Deny</button></p></form>`,
    );
  }

  function decide(form: URLSearchParams): Reply {
    if (form.get("client_id") !== clientId || form.get("redirect_uri") !== redirectUri)
      return consentPage(form);
    const back = new URL(redirectUri);
    back.searchParams.set("state", form.get("state") ?? "");
    if (form.get("decision") === "allow") {
      const code = newToken();
      codes.set(code, {
        name: (form.get("name") ?? "").slice(0, 40),
        scope: form.get("scope") ?? "",
        endsAt: Date.now() + 60_000,
        challenge: form.get("code_challenge") ?? "",
      });
      back.searchParams.set("code", code);
    } else {
      back.searchParams.set("error", "access_denied");
    }
    return { status: 303, headers: { location: back.href }, body: "" };
  }

  function issue({ name, scope }: Grant): Reply {
    const accessToken = newToken();
    const refreshToken = newToken();
    accessTokens.set(accessToken, { name, scope, endsAt: Date.now() + tokenSeconds * 1000 });
    refreshTokens.set(refreshToken, { name, scope, endsAt: Date.now() + 24 * 60 * 60 * 1000 });
    return json(200, {
      access_token: accessToken,
      token_type: "Bearer",
      expires_in: tokenSeconds,
      refresh_token: refreshToken,
      scope,
    });
  }

  function exchange(form: URLSearchParams): Reply {
    if (form.get("client_id") !== clientId || !same(form.get("client_secret") ?? "", clientSecret)) {
      return json(401, { error: "invalid_client" });
    }
    const refresh = form.get("grant_type") === "refresh_token";
    const grant = refresh
      ? take(refreshTokens, form.get("refresh_token"))
      : verified(take(codes, form.get("code")), form.get("code_verifier") ?? "");
    return grant === undefined ? json(400, { error: "invalid_grant" }) : issue(grant);
  }

  function me(request: IncomingMessage): Reply {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    const grant = accessTokens.get(token);
    if (grant === undefined || grant.endsAt < Date.now()) return json(401, { error: "invalid_token" });
    return json(200, { name: grant.name, tokenEndsInSeconds: Math.ceil((grant.endsAt - Date.now()) / 1000) });
  }

  function revoke(form: URLSearchParams): Reply {
    const token = form.get("token") ?? "";
    accessTokens.delete(token);
    refreshTokens.delete(token);
    return { status: 200, headers: {}, body: "" };
  }

  async function answer(request: IncomingMessage): Promise<Reply> {
    const { pathname, searchParams } = new URL(request.url ?? "/", `http://${host}`);
    const form = new URLSearchParams(request.method === "POST" ? await text(request) : "");
    switch (`${request.method} ${pathname}`) {
      case "GET /authorize":
        return consentPage(searchParams);
      case "POST /authorize":
        return decide(form);
      case "POST /token":
        return exchange(form);
      case "POST /revoke":
        return revoke(form);
      case "GET /me":
        return me(request);
      default:
        return json(404, { error: "not_found" });
    }
  }

  const server = createServer((request, response) => {
    answer(request).then(
      (reply) => send(response, reply),
      () => response.destroy(),
    );
  });
  server.listen(0, host);
  await once(server, "listening");
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    clientId,
    clientSecret,
    sendBackTo: (uri) => (redirectUri = uri),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

function send(response: ServerResponse, { status, headers, body }: Reply): void {
  response.writeHead(status, { "cache-control": "no-store", ...headers }).end(body);
}

function json(status: number, body: unknown): Reply {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

function page(status: number, body: string): Reply {
  return {
    status,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": "frame-ancestors 'none'",
    },
    body: `<!doctype html><html lang="en"><title>Demo service</title><body>${body}</body></html>`,
  };
}

function escaped(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** What the token stands for, which nobody can use again. */
function take<T extends Grant>(grants: Map<string, T>, token: string | null): T | undefined {
  const grant = grants.get(token ?? "");
  grants.delete(token ?? "");
  return grant !== undefined && grant.endsAt >= Date.now() ? grant : undefined;
}

/** RFC 7636, 4.6: S256. */
function verified(grant: CodeGrant | undefined, verifier: string): Grant | undefined {
  const challenge = createHash("sha256").update(verifier).digest("base64url");
  return grant !== undefined && same(grant.challenge, challenge) ? grant : undefined;
}

function same(one: string, other: string): boolean {
  return one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other));
}

function newToken(): string {
  return randomBytes(24).toString("base64url");
}
