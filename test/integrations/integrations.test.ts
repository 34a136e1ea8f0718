import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { presets } from "#src/integrations/presets.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

let service: TestService;
beforeAll(async () => (service = await startService()));
afterAll(() => service[Symbol.asyncDispose]());

const shop = {
  slug: "custom:shop",
  name: "Our shop",
  baseUrl: "https://{shop}.shop.example/api",
  placeholders: { shop: { place: "host", pattern: "^[a-z0-9-]{1,63}$", example: "acme" } },
  authMethods: [
    {
      id: "oauth2",
      type: "oauth2",
      label: "OAuth",
      oauth2: {
        grant: "authorization_code",
        authorizationUrl: "https://{shop}.shop.example/authorize",
        tokenUrl: "https://{shop}.shop.example/token",
        pkce: "required",
        clientAuthentication: "post",
        scopeSeparator: " ",
        refresh: "rotating",
        accessTokenLifetimeSeconds: 0,
        scopeParameter: "",
      },
    },
    {
      id: "key",
      type: "api_key",
      label: "Key",
      fields: [
        { name: "key", secret: true, pattern: "^k_[a-z]+$" },
        { name: "zone", oneOf: ["eu", "us"], default: "eu" },
      ],
      inject: { headers: { "X-Key": "{key}", "X-Zone": "{zone}" } },
    },
  ],
  probe: { method: "GET", path: "/me", status: 200, member: "/id" },
};

const integrations = () => service.org.client.integrations;

describe("an integration of the organisation's own", () => {
  test("is answered as it was defined, over REST and over gRPC", async () => {
    const { slug, ...body } = shop;
    const put = await service.org.rest("PUT", `/api/integrations/${slug}`, body);
    expect(put).toMatchObject({
      status: 200,
      body: { data: { created: true, integration: { slug, source: "own", version: 1, ...body } } },
    });
    const got = await service.org.rest("GET", "/api/integrations/custom%3Ashop");
    expect(got.body.data.integration).toEqual(put.body.data.integration);
    const { integration } = await integrations().getIntegration({ slug });
    expect(integration).toMatchObject(shop);
    expect(integration?.valuesSchemas).toEqual({
      oauth2: {
        type: "object",
        properties: { shop: { type: "string", pattern: "^[a-z0-9-]{1,63}$", examples: ["acme"] } },
        required: ["shop"],
        additionalProperties: false,
      },
      key: {
        type: "object",
        properties: {
          shop: { type: "string", pattern: "^[a-z0-9-]{1,63}$", examples: ["acme"] },
          key: { type: "string", pattern: "^k_[a-z]+$", writeOnly: true },
          zone: { type: "string", enum: ["eu", "us"], default: "eu" },
        },
        required: ["shop", "key"],
        additionalProperties: false,
      },
    });
    const again = await integrations().upsertIntegration({ ...shop, name: "The shop" });
    expect(again).toMatchObject({ created: false, integration: { name: "The shop", version: 2 } });
  });

  test("is unknown to other organisations", async () => {
    await integrations().upsertIntegration(shop);
    const { client } = await service.newOrganization("globex");
    const { slug } = shop;
    await expect(client.integrations.getIntegration({ slug })).rejects.toMatchObject({ code: Code.NotFound });
    await expect(client.integrations.deleteIntegration({ slug })).rejects.toMatchObject({
      code: Code.NotFound,
    });
    expect((await client.integrations.listIntegrations({ source: "own" })).integrations).toEqual([]);
    await expect(integrations().getIntegration({ slug: shop.slug })).resolves.toBeDefined();
  });

  test("counts its versions though many define it at once", async () => {
    const slug = "custom:many";
    const all = await Promise.all(
      Array.from({ length: 10 }, () => integrations().upsertIntegration({ ...shop, slug })),
    );
    const versions = all.map(({ integration }) => integration?.version ?? 0).sort((a, b) => a - b);
    expect(versions).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(all.filter(({ created }) => created)).toHaveLength(1);
  });

  test("is deleted once no connection is of it any more", async () => {
    const slug = "custom:ledger";
    await integrations().upsertIntegration({ ...shop, slug });
    const { connections } = service.org.client;
    const wanted = { serviceSlug: slug, baseUrl: "https://acme.shop.example/api", apiKey: "k" };
    const { connection } = await connections.upsertServiceConnection(wanted);
    const inUse = await service.org.rest("DELETE", `/api/integrations/${slug}`);
    expect(inUse).toMatchObject({
      status: 409,
      body: { error: "1 connection is of custom:ledger; delete them first" },
    });
    expect(inUse.headers.get("x-error-reason")).toBe("INTEGRATION_IN_USE");
    await connections.deleteConnection({ id: connection!.id });
    expect((await service.org.rest("DELETE", `/api/integrations/${slug}`)).status).toBe(200);
    const twice = await service.org.rest("DELETE", `/api/integrations/${slug}`);
    expect([twice.status, twice.headers.get("x-error-reason")]).toEqual([404, "UNKNOWN_INTEGRATION"]);
  });

  test.each(["github", "aml", "custom:", "custom:Shop", "shop"])("is not called %s", async (slug) => {
    const { slug: _, ...body } = shop;
    const put = await service.org.rest("PUT", `/api/integrations/${slug}`, body);
    expect(put).toMatchObject({ status: 400, body: { error: expect.stringMatching(/^slug: give custom:/) } });
  });

  test("is written by a key that has catalog:write only", async () => {
    const viewing = await service.org.client.apiKeys.createApiKey({ name: "v", scopes: ["catalog:view"] });
    const viewer = service.as(viewing.secret);
    await expect(viewer.client.integrations.getIntegration({ slug: "github" })).resolves.toBeDefined();
    await expect(viewer.client.integrations.upsertIntegration(shop)).rejects.toMatchObject({
      code: Code.PermissionDenied,
    });
  });
});

describe("a connection", () => {
  const slug = "custom:kept";
  const authMethods = [
    {
      id: "key",
      type: "api_key",
      label: "Key",
      fields: [{ name: "key", secret: true, pattern: "^k_[a-z]+$" }],
      inject: { headers: { "X-Key": "{key}" } },
    },
  ];
  const credentials = { key: "k_secretly" };

  test("keeps what its integration said when its credential was stored", async () => {
    await using upstream = await startUpstream();
    await using elsewhere = await startUpstream();
    const { connections } = service.org.client;
    const definition = { slug, name: "Kept", baseUrl: upstream.url, authMethods };
    await integrations().upsertIntegration(definition);
    await connections.createConnection({
      integration: slug,
      authMethod: "key",
      credentials,
      serviceSlug: slug,
    });
    const [method] = authMethods;
    const inject = { headers: { "X-Other": "{key}" } };
    await integrations().upsertIntegration({
      ...definition,
      baseUrl: elsewhere.url,
      authMethods: [{ ...method!, inject }],
    });
    await connections.callService({ service: slug, method: "GET", path: "/" });
    expect(elsewhere.asked).toEqual([]);
    expect(upstream.asked).toHaveLength(1);
    expect(upstream.asked[0]?.headers).toMatchObject({ "x-key": "k_secretly" });
    expect(upstream.asked[0]?.headers).not.toHaveProperty("x-other");
  });

  test.each([
    [
      "a value that its field does not take",
      { key: "secretly" },
      "key: give a value that matches ^k_[a-z]+$",
    ],
    [
      "a field that is not there",
      { ...credentials, kye: "x" },
      "kye: is not asked for by key of custom:kept; it takes key",
    ],
    ["none of what its method asks for", {}, "key: give a value"],
  ])("is not made with %s", async (_, credentials, text) => {
    await integrations().upsertIntegration({ slug, name: "Kept", baseUrl: "https://a.example", authMethods });
    const { connections } = service.org.client;
    const making = connections.createConnection({ integration: slug, authMethod: "key", credentials });
    await expect(making).rejects.toMatchObject({ code: Code.InvalidArgument, rawMessage: text });
  });

  test("of a preset goes to where the preset is", async () => {
    const { connections } = service.org.client;
    const { connection } = await connections.createConnection({
      integration: "jira",
      authMethod: "basic",
      credentials: { apiToken: "t" },
      params: { email: "me@acme.example", site: "acme" },
    });
    expect(connection).toMatchObject({ integration: "jira", baseUrl: "https://acme.atlassian.net" });
    const astray = connections.createConnection({
      integration: "jira",
      authMethod: "basic",
      credentials: { apiToken: "t" },
      params: { email: "me@acme.example", site: "evil.example/" },
    });
    await expect(astray).rejects.toMatchObject({
      rawMessage: expect.stringMatching(/^site: give a value that matches/),
    });
  });
});

describe("the list", () => {
  test("has every sibling and preset once, over its pages, in the order of the slugs", async () => {
    const slugs: string[] = [];
    let pageToken = "";
    do {
      const page = await integrations().listIntegrations({ pageSize: 7, pageToken });
      slugs.push(...page.integrations.map(({ slug }) => slug));
      pageToken = page.nextPageToken ?? "";
    } while (pageToken !== "");
    expect(slugs).toEqual([...new Set(slugs)].toSorted());
    expect(slugs).toEqual(expect.arrayContaining(["aml", "custom:shop", ...presets.map(({ slug }) => slug)]));
  });

  test.each([
    ["of a source", { source: "preset", q: "" }, "github", "aml"],
    ["with a text in the slug", { q: "GITH" }, "github", "slack"],
    ["with a text in the name", { q: "graph" }, "microsoft", "slack"],
    ["of the organisation's own, by its name", { q: "SHOP", source: "own" }, "custom:shop", "shopify"],
    ["with a text that a pattern would mean", { q: "%" }, undefined, "github"],
  ])("has those %s", async (_, filter, there, notThere) => {
    await integrations().upsertIntegration(shop);
    const found = await integrations().listIntegrations({ ...filter, pageSize: 200 });
    const slugs = found.integrations.map(({ slug }) => slug);
    expect(slugs).not.toContain(notThere);
    if (there === undefined) expect(slugs).toEqual([]);
    else expect(slugs).toContain(there);
  });
});

describe("an OAuth client", () => {
  const at = "/api/integrations/custom:shop/auth-methods/oauth2/client";
  const secret = "a-client-secret-that-nobody-sees";

  test("is answered by its id and the hash of its secret, which is in no answer and no event", async () => {
    await integrations().upsertIntegration(shop);
    const put = await service.org.rest("PUT", at, { clientId: "patchbay", clientSecret: secret });
    expect(put).toMatchObject({
      status: 200,
      body: {
        data: {
          client: {
            authMethod: "oauth2",
            clientId: "patchbay",
            clientSecretHash: expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/),
            boundTo: "https://{shop}.shop.example/token",
          },
        },
      },
    });
    const got = await service.org.rest("GET", "/api/integrations/custom:shop");
    expect(got.body.data.integration.oauthClients).toEqual([put.body.data.client]);
    const audit = await service.org.rest("GET", "/api/audit/events");
    const seen = JSON.stringify([put.body, got.body, audit.body]) + service.logged();
    expect(seen).toContain("integration.client.put");
    expect(seen).not.toContain(secret);
    expect(seen).not.toContain(Buffer.from(secret).toString("base64").replace(/=+$/, ""));
  });

  test("says that it is of another place once the token URL moves, until it is stored again", async () => {
    await integrations().upsertIntegration(shop);
    await integrations().putOAuthClient({
      slug: shop.slug,
      authMethod: "oauth2",
      clientId: "c",
      clientSecret: secret,
    });
    const [oauth2, key] = shop.authMethods;
    const moved = {
      ...shop,
      authMethods: [
        { ...oauth2!, oauth2: { ...oauth2!.oauth2!, tokenUrl: "https://evil.example/token" } },
        key!,
      ],
    };
    const { integration } = await integrations().upsertIntegration(moved);
    expect(integration?.oauthClients).toMatchObject([
      { boundTo: "https://{shop}.shop.example/token", moved: true },
    ]);
    const { client } = await integrations().putOAuthClient({
      slug: shop.slug,
      authMethod: "oauth2",
      clientId: "c",
    });
    expect(client).toMatchObject({ boundTo: "https://evil.example/token", moved: false });
    expect(client?.clientSecretHash).toBeUndefined();
  });

  test("can be one of a preset, and is the organisation's own then, too", async () => {
    const place = { slug: "github", authMethod: "oauth2" };
    await integrations().putOAuthClient({ ...place, clientId: "c", clientSecret: secret });
    const { client } = await service.newOrganization("globex");
    const theirs = await client.integrations.getIntegration({ slug: "github" });
    expect(theirs.integration?.oauthClients).toEqual([]);
    await expect(client.integrations.deleteOAuthClient(place)).rejects.toMatchObject({ code: Code.NotFound });
    await integrations().deleteOAuthClient(place);
    await expect(integrations().deleteOAuthClient(place)).rejects.toMatchObject({ code: Code.NotFound });
  });

  test.each([
    [
      "of a method that is not there",
      "github",
      "nothing",
      "authMethod: github has oauth2, github-app, token",
    ],
    ["of a method without OAuth", "github", "token", "authMethod: token does not speak OAuth"],
    ["of an integration that is not there", "nowhere", "oauth2", "no such integration"],
  ])("%s is refused", async (_, slug, authMethod, text) => {
    const putting = integrations().putOAuthClient({ slug, authMethod, clientId: "c", clientSecret: secret });
    await expect(putting).rejects.toMatchObject({ rawMessage: expect.stringContaining(text) });
  });

  test("goes with the integration that it is of", async () => {
    const slug = "custom:gone";
    await integrations().upsertIntegration({ ...shop, slug });
    await integrations().putOAuthClient({ slug, authMethod: "oauth2", clientId: "c", clientSecret: secret });
    await integrations().deleteIntegration({ slug });
    const { integration } = await integrations().upsertIntegration({ ...shop, slug });
    expect(integration?.oauthClients).toEqual([]);
  });
});

test("a reason says what went wrong", async () => {
  const asking = integrations().getIntegration({ slug: "nowhere" });
  expect(await asking.then(() => undefined, reasonOf)).toBe("UNKNOWN_INTEGRATION");
});
