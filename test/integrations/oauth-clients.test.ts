import { expect, test } from "vitest";
import { createFingerprint } from "#src/crypto/fingerprint.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { createLog } from "#src/cli/log.ts";
import { createDatabase } from "#src/db/database.ts";
import { createOAuthClients, placeOfSecret } from "#src/integrations/oauth-clients.ts";
import { mayReceive } from "#src/connections/oauth/client.ts";
import { presets } from "#src/integrations/presets.ts";
import { placeholdersOf, prepare } from "#src/integrations/recipe.ts";
import { startService } from "../support/service.ts";
import { startStrangeAuthorizationServer } from "../support/strange-authorization-server.ts";
import { startUpstream } from "../support/upstream.ts";

const discard = { write: () => undefined };

test("a client secret opens as it was stored, and for no other method, environment or organisation", async () => {
  const rootKey = newRootKeyText();
  await using service = await startService({ rootKey });
  const log = createLog("error", discard);
  const database = createDatabase({ url: service.postgres.url, log });
  const keyring = createKeyring({ database, rootKey: localRootKey(rootKey), log });
  const fingerprint = createFingerprint((text) => Buffer.from(text));
  const clients = createOAuthClients({ database, keyring, fingerprint });
  const { client, orgId } = service.org;
  const viewer = { orgId, environment: "sandbox" as const, userId: undefined };
  const secret = "a-client-secret";
  const put = (authMethod: string, clientSecret?: string) =>
    client.integrations.putOAuthClient({
      slug: "github",
      authMethod,
      clientId: "c",
      ...(clientSecret && { clientSecret }),
    });
  await put("oauth2", secret);
  await put("github-app", "another");
  {
    const opened = await clients.get(viewer, "github", "oauth2");
    using kept = opened?.secret;
    expect(kept?.reveal().toString()).toBe(secret);
    expect(opened).toMatchObject({ clientId: "c", boundTo: "https://github.com/login/oauth/access_token" });
  }
  await expect(clients.get({ ...viewer, environment: "live" }, "github", "oauth2")).resolves.toBeUndefined();
  const other = await service.newOrganization("globex");
  await expect(clients.get({ ...viewer, orgId: other.orgId }, "github", "oauth2")).resolves.toBeUndefined();
  await service.postgres.asOwner(
    `update oauth_clients c set sealed = o.sealed from oauth_clients o
     where c.auth_method = 'github-app' and o.auth_method = 'oauth2'`,
    [],
  );
  await expect(clients.get(viewer, "github", "github-app")).rejects.toThrow(/do not open/);
  await put("oauth2");
  await expect(clients.get(viewer, "github", "oauth2")).resolves.toMatchObject({ secret: undefined });
  await database.close();
});

test("a client secret goes to the token URL that it was stored for, and not where a later definition says", async () => {
  await using service = await startService();
  await using bank = await startStrangeAuthorizationServer();
  await using evil = await startStrangeAuthorizationServer();
  await using upstream = await startUpstream();
  const { client, rest } = service.org;
  const slug = "custom:bank";
  const define = (tokenUrl: string) =>
    client.integrations.upsertIntegration({
      slug,
      name: "Bank",
      baseUrl: upstream.url,
      authMethods: [
        {
          id: "oauth2",
          type: "oauth2",
          label: "OAuth",
          oauth2: {
            grant: "client_credentials",
            tokenUrl,
            pkce: "ignored",
            clientAuthentication: "post",
            scopeSeparator: " ",
            refresh: "none",
          },
        },
      ],
    });
  /** Makes a connection, and a call through it, for which a token is asked first. */
  const connectAndCall = async () => {
    const { connection } = await client.connections.createConnection({
      integration: slug,
      authMethod: "oauth2",
    });
    return rest("POST", "/api/service-calls", { service: connection!.id, method: "GET", path: "/" });
  };
  await define(bank.tokenUrl);
  const secret = { clientId: "patchbay", clientSecret: "s3cr3t-of-the-client" };
  await client.integrations.putOAuthClient({ slug, authMethod: "oauth2", ...secret });
  expect((await connectAndCall()).status).toBeLessThan(300);
  expect(bank.asked.map(({ form }) => form.get("client_secret"))).toEqual([secret.clientSecret]);
  await define(evil.tokenUrl);
  const refused = await connectAndCall();
  expect(refused.status).toBeGreaterThanOrEqual(400);
  expect(evil.asked).toEqual([]);
  expect(JSON.stringify(refused.body) + service.logged()).not.toContain(secret.clientSecret);
  await client.integrations.putOAuthClient({ slug, authMethod: "oauth2", ...secret });
  expect((await connectAndCall()).status).toBeLessThan(300);
  expect(evil.asked).toHaveLength(1);
});

const oauthMethods = presets.flatMap((preset) =>
  preset.authMethods.flatMap((method) => (method.oauth2 === undefined ? [] : [{ preset, method }])),
);

test.each(oauthMethods)(
  "the client secret of $preset.slug, $method.id reaches its token URL, and no other domain",
  ({ preset, method }) => {
    const values: Record<string, string> = {};
    for (const name of placeholdersOf(preset, method))
      values[name] = preset.placeholders?.[name]?.example ?? "";
    for (const { name } of method.fields) values[name] = "1234567890";
    const { tokenUrl = "" } = prepare(preset, method, { values }).recipe.method.oauth2 ?? {};
    const place = placeOfSecret(preset, method);
    expect(mayReceive(place, tokenUrl)).toBe(true);
    expect(mayReceive(place, "https://evil.example/token")).toBe(false);
    expect(mayReceive(place, `https://evil.example/${new URL(tokenUrl).host}`)).toBe(false);
  },
);
