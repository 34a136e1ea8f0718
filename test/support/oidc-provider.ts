import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
// @ts-expect-error -- oidc-provider is published without types.
import { Provider } from "oidc-provider";

/** A real authorization server, whose person signs in and agrees to everything at once. */
export interface OidcProvider extends AsyncDisposable {
  readonly issuer: string;
  /** Types the code in at the service, and agrees. */
  enterUserCode(userCode: string): Promise<void>;
  /** What was asked, as method and path. */
  readonly asked: readonly string[];
}

/** Starts it with one public client, to which it sends people back at these addresses. */
export async function startOidcProvider(redirectUris: string[]): Promise<OidcProvider> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const asked: string[] = [];
  const configuration = {
    clients: [
      {
        client_id: "patchbay-test",
        token_endpoint_auth_method: "none",
        redirect_uris: redirectUris,
        grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        response_types: ["code"],
      },
    ],
    scopes: ["openid", "offline_access", "read", "write"],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    cookies: { keys: ["a key of a test"] },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      deviceFlow: { enabled: true },
    },
    ttl: { AccessToken: 3600, RefreshToken: 86_400, Grant: 86_400, Interaction: 600, Session: 600 },
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_: unknown, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
  };
  const provider = new Provider(issuer, configuration);
  const answer = provider.callback();
  server.on("request", (request, response) => {
    asked.push(`${request.method} ${request.url?.split("?")[0]}`);
    if (request.url?.startsWith("/interaction/") !== true) return void answer(request, response);
    const agree = async () => {
      const { prompt, params, session } = await provider.interactionDetails(request, response);
      const accountId = session?.accountId ?? "ada";
      const grant = new provider.Grant({ accountId, clientId: params.client_id });
      grant.addOIDCScope(params.scope ?? "");
      const result =
        prompt.name === "login" ? { login: { accountId } } : { consent: { grantId: await grant.save() } };
      await provider.interactionFinished(request, response, result);
    };
    void agree();
  });
  return {
    issuer,
    asked,
    async enterUserCode(userCode) {
      const code = await provider.DeviceCode.findByUserCode(userCode.replace("-", ""), {
        ignoreExpiration: true,
      });
      const scope = "offline_access read";
      const grant = new provider.Grant({ accountId: "ada", clientId: "patchbay-test" });
      grant.addOIDCScope(scope);
      Object.assign(code, { accountId: "ada", grantId: await grant.save(), scope });
      await code.save(600);
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
