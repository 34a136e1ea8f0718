import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
// @ts-expect-error -- oidc-provider is published without types.
import { Provider } from "oidc-provider";

/** An OpenID provider that somebody else wrote. */
export interface IdentityProvider extends AsyncDisposable {
  readonly url: string;
  /** An access token for the provider's `/me`, issued to an app after the user has logged in and consented. */
  issueToken(sub: string): Promise<string>;
}

const redirectUri = "https://app.example/done";

/** Starts oidc-provider on 127.0.0.1. Whoever comes to its login page is the user, and consents. */
export async function startIdentityProvider(): Promise<IdentityProvider> {
  const app = { id: "ledger", secret: randomBytes(32).toString("hex") };
  const server = createServer((request, response) => {
    if (request.url?.startsWith("/interaction/")) void interact(request, response);
    else provider.callback()(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let user = "";
  const provider = new Provider(url, {
    clients: [{ client_id: app.id, client_secret: app.secret, redirect_uris: [redirectUri] }],
    findAccount: (_: unknown, sub: string) => ({ accountId: sub, claims: () => ({ sub }) }),
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    cookies: { keys: [randomBytes(32).toString("hex")] },
  });

  async function interact(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, session, params } = await provider.interactionDetails(request, response);
    if (prompt.name === "login") {
      return provider.interactionFinished(request, response, { login: { accountId: user } });
    }
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope("openid");
    return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
  }

  return {
    url,
    async issueToken(sub) {
      user = sub;
      const verifier = randomBytes(32).toString("base64url");
      const asked = new URLSearchParams({
        client_id: app.id,
        response_type: "code",
        scope: "openid",
        redirect_uri: redirectUri,
        code_challenge_method: "S256",
        code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      });
      const done = await browse(`${url}/auth?${asked.toString()}`);
      const reply = await fetch(`${url}/token`, {
        method: "POST",
        headers: { authorization: `Basic ${Buffer.from(`${app.id}:${app.secret}`).toString("base64")}` },
        body: new URLSearchParams({
          grant_type: "authorization_code",
          code: done.searchParams.get("code")!,
          redirect_uri: redirectUri,
          code_verifier: verifier,
        }),
      });
      const { access_token: token } = (await reply.json()) as { access_token: string };
      return token;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** Follows redirects with cookies, as the user's browser would, until they lead to the app. */
async function browse(start: string): Promise<URL> {
  const cookies = new Map<string, string>();
  for (let url = new URL(start); ;) {
    const cookie = [...cookies].map((pair) => pair.join("=")).join("; ");
    const reply = await fetch(url, { redirect: "manual", headers: { cookie } });
    const next = reply.headers.get("location");
    if (next === null) throw new Error(`${url.href} leads nowhere: ${reply.status} ${await reply.text()}`);
    if (next.startsWith(redirectUri)) return new URL(next);
    for (const line of reply.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!;
      cookies.set(name!, value!);
    }
    url = new URL(next, url);
  }
}
