import { create, fromJson, toJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { upgrade } from "@scalar/openapi-parser";
import fc from "fast-check";
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import {
  IntegrationService,
  UpsertIntegrationRequestSchema,
} from "#gen/patchbay/integrations/v1/integration_service_pb.js";
import { IntegrationSchema } from "#gen/patchbay/integrations/v1/integration_pb.js";
import { requireSound } from "#src/integrations/definition.ts";
import { definitionFrom as fromMessage } from "#src/integrations/from-message.ts";
import { toMessage } from "#src/integrations/messages.ts";
import { definitionFrom, type FoundDefinition } from "#src/operations/reader/definition/definition.ts";
import { readBaseUrl } from "#src/outbound/base-url.ts";
import { createRequestValidator } from "#src/pipeline/validation.ts";
import { atOnce } from "#src/platform/in-turns.ts";

const validator = createRequestValidator([IntegrationService]);

/** Everything that is read has to be what could have been written by hand. */
function read(document: object, url?: string): FoundDefinition {
  const found = definitionFrom(document as JsonObject, { url });
  const integration = { slug: "custom:read", ...found.definition, version: 1 };
  atOnce(requireSound(integration, readBaseUrl));
  if (integration.authMethods.length > 0) {
    const answered = toJson(IntegrationSchema, create(IntegrationSchema, toMessage(integration)));
    const request = fromJson(UpsertIntegrationRequestSchema, answered, { ignoreUnknownFields: true });
    expect(validator.validate(UpsertIntegrationRequestSchema, request)).toMatchObject({ kind: "valid" });
    expect(fromMessage(request, 1)).toEqual(integration);
  }
  return found;
}

const upgraded = (document: object): object =>
  upgrade(document as Parameters<typeof upgrade>[0]).specification ?? {};

const withServers = (...servers: object[]) => ({ openapi: "3.1.0", info: { title: "Bank" }, servers });
const withSchemes = (securitySchemes: object, ...security: object[]) => ({
  ...withServers({ url: "https://bank.example/v1" }),
  components: { securitySchemes },
  security,
});
const flows = (flows: object) => ({ o: { type: "oauth2", flows } });

describe("the base URL is", () => {
  test.each([
    [
      "the server's, without a slash at its end",
      [{ url: "HTTPS://Bank.example/v1/" }],
      "https://bank.example/v1",
    ],
    [
      "one that encrypts, where both are named",
      [{ url: "http://a.example" }, { url: "https://a.example" }],
      "https://a.example",
    ],
    ["said by each connection, where no server is named", [], undefined],
    [
      "said by each connection, where it may be anywhere",
      [{ url: "https://{host}/api", variables: { host: { default: "bank.example" } } }],
      undefined,
    ],
    [
      "the next one that can be called",
      [{ url: "wss://a.example" }, { url: "https://b.example" }],
      "https://b.example",
    ],
    [
      "with the usual port, which cannot differ",
      [{ url: "https://a.example:{p}/v1", variables: { p: { default: "8443", enum: ["8443", "443"] } } }],
      "https://a.example:8443/v1",
    ],
    [
      "with the scheme that encrypts",
      [{ url: "{s}://a.example", variables: { s: { default: "http", enum: ["http", "https"] } } }],
      "https://a.example",
    ],
    [
      "with the usual path, where it has several segments",
      [{ url: "https://a.example/{p}/x", variables: { p: { default: "api/v1" } } }],
      "https://a.example/api/v1/x",
    ],
  ])("%s", (_, servers, expected) => {
    expect(read(withServers(...servers)).definition.baseUrl).toBe(expected);
  });

  test.each([
    ["/v1", "https://bank.example/docs/openapi.json", "https://bank.example/v1"],
    ["v1", "https://bank.example/docs/openapi.json", "https://bank.example/docs/v1"],
    ["../v1/", "https://bank.example/docs/openapi.json", "https://bank.example/v1"],
    ["//api.bank.example", "https://bank.example/openapi.json", "https://api.bank.example"],
    ["/{tenant}", "https://bank.example:8443/openapi.json?x=1", "https://bank.example:8443/{tenant}"],
  ])("relative to where the document is: %s", (url, document, expected) => {
    expect(read(withServers({ url }), document).definition.baseUrl).toBe(expected);
    const { definition, problems } = read(withServers({ url }));
    expect(definition.baseUrl).toBeUndefined();
    expect(problems).toMatchObject([
      { pointer: "/servers/0/url", reason: expect.stringContaining("relative") },
    ]);
  });

  test("where the document is, if it names no server", () => {
    const document = { openapi: "3.1.0", info: { title: "Bank" } };
    expect(read(document, "https://bank.example/docs/openapi.json").definition.baseUrl).toBe(
      "https://bank.example",
    );
  });
});

describe("a server's variables become placeholders:", () => {
  test("a free one in the host stands before its domain, and the document's example is nobody's tenant", () => {
    const variables = { "tenant-id": { default: "acme", description: "Yours" }, base: { default: "v2" } };
    expect(
      read(withServers({ url: "https://{tenant-id}.bank.example/{base}", variables })).definition,
    ).toMatchObject({
      baseUrl: "https://{tenantId}.bank.example/{base}",
      placeholders: {
        tenantId: {
          in: "host",
          pattern: "^[A-Za-z0-9-]+$",
          example: "acme",
          note: "Yours",
        },
        base: { in: "path", default: "v2", example: "v2" },
      },
    });
  });

  test("a list is chosen from, and may be of whole hosts", () => {
    const variables = {
      host: { default: "eu.bank.example", enum: ["eu.bank.example", "us.bank.example", "a b"] },
    };
    expect(read(withServers({ url: "https://{host}", variables })).definition.placeholders).toEqual({
      host: {
        in: "host",
        enum: ["eu.bank.example", "us.bank.example"],
        default: "eu.bank.example",
        example: "eu.bank.example",
      },
    });
  });

  test("servers that differ in their host alone are one to choose from; others are reported", () => {
    const { definition, problems } = read(
      withServers(
        { url: "https://live.bank.example/v1", description: "Live" },
        { url: "https://sandbox.bank.example/v1/" },
        { url: "https://old.bank.example/v0" },
      ),
    );
    expect(definition).toMatchObject({
      baseUrl: "https://{server}/v1",
      placeholders: {
        server: { enum: ["live.bank.example", "sandbox.bank.example"], default: "live.bank.example" },
      },
    });
    expect(problems).toMatchObject([{ pointer: "/servers/2/url" }]);
  });
});

test("an operation's own servers are the document's, or they are elsewhere", () => {
  const { isOwnServer } = read(
    withServers(
      { url: "https://a.example/v1" },
      { url: "https://b.example/v1" },
      { url: "https://c.example" },
    ),
  );
  const own = (...servers: object[]) => isOwnServer(servers as JsonValue[]);
  expect(isOwnServer(undefined)).toBe(true);
  expect(own()).toBe(true);
  expect(own({ url: "https://B.example/v1/" })).toBe(true);
  expect(own({ url: "https://x.example" }, { url: "https://a.example/v1" })).toBe(true);
  expect(own({ url: "https://c.example" })).toBe(false);
  expect(own({ url: "https://a.example" })).toBe(false);
  expect(own({ url: "https://a.example.evil.example/v1" })).toBe(false);
  expect(own({ url: "https://{h}/v1", variables: { h: { default: "a.example" } } })).toBe(false);
});

describe("a security scheme becomes an auth method:", () => {
  test.each([
    [
      "a key in a header",
      { type: "apiKey", in: "header", name: "X-Key" },
      "api_key",
      { headers: { "X-Key": "{apiKey}" } },
    ],
    [
      "a key in the query",
      { type: "apiKey", in: "query", name: "key" },
      "api_key",
      { query: { key: "{apiKey}" } },
    ],
    [
      "a key in a cookie",
      { type: "apiKey", in: "cookie", name: "sid" },
      "api_key",
      { cookies: { sid: "{apiKey}" } },
    ],
    [
      "a key that is called a bearer token",
      { type: "apiKey", in: "header", name: "Authorization", description: "`Bearer <token>`" },
      "bearer",
      { headers: { Authorization: "Bearer {token}" } },
    ],
    [
      "Basic",
      { type: "http", scheme: "Basic" },
      "basic",
      { basic: { username: "{username}", password: "{password}" } },
    ],
    [
      "Bearer",
      { type: "http", scheme: "bearer" },
      "bearer",
      { headers: { Authorization: "Bearer {token}" } },
    ],
    [
      "a scheme of the service's own",
      { type: "http", scheme: "Token" },
      "api_key",
      { headers: { Authorization: "Token {token}" } },
    ],
    [
      "a client certificate",
      { type: "mutualTLS" },
      "mtls",
      { certificate: { certificate: "{certificate}", privateKey: "{privateKey}" } },
    ],
  ])("%s", (_, scheme, type, inject) => {
    const { definition, problems } = read(withSchemes({ "My Scheme": scheme }));
    expect(definition.authMethods).toMatchObject([{ id: "my-scheme", type }]);
    expect(definition.authMethods[0]?.inject).toEqual(inject);
    expect(problems).toEqual([]);
  });

  test("the flows of OAuth are one each, with the scopes that operations need", () => {
    const scopes = { read: "", write: "", admin: "" };
    const document = withSchemes(
      flows({
        authorizationCode: {
          authorizationUrl: "https://id.example/a?audience=bank",
          tokenUrl: "/token",
          refreshUrl: "../refresh",
          scopes,
        },
        clientCredentials: { tokenUrl: "https://id.example/token", scopes: { other: "" } },
        deviceAuthorization: {
          deviceAuthorizationUrl: "https://id.example/d",
          tokenUrl: "https://id.example/token",
          scopes,
        },
        implicit: { authorizationUrl: "https://id.example/a", scopes },
        password: { tokenUrl: "https://id.example/token", scopes },
      }),
      { o: ["read"] },
    );
    const paths = {
      "/x": { get: { security: [{ o: ["write"] }] }, post: { security: [{ o: ["unknown"] }] } },
    };
    const { definition, problems } = read({ ...document, paths });
    expect(definition.authMethods).toMatchObject([
      {
        id: "o-code",
        oauth2: {
          grant: "authorization_code",
          authorizationUrl: "https://id.example/a",
          extraAuthorizationParameters: { audience: "bank" },
          tokenUrl: "https://bank.example/token",
          refreshUrl: "https://bank.example/refresh",
          defaultScopes: ["read", "write"],
        },
      },
      {
        id: "o-client-credentials",
        oauth2: { grant: "client_credentials", refresh: "none", defaultScopes: ["other"] },
      },
      { id: "o-device", oauth2: { grant: "device_code", deviceAuthorizationUrl: "https://id.example/d" } },
    ]);
    expect(problems.map(({ pointer }) => pointer)).toEqual([
      "/components/securitySchemes/o/flows/implicit",
      "/components/securitySchemes/o/flows/password",
    ]);
  });

  test.each([
    ["https://id.example/t/.well-known/openid-configuration", "https://id.example/t"],
    ["https://id.example/.well-known/oauth-authorization-server/t", "https://id.example/t"],
  ])("OpenID Connect names an issuer that is asked: %s", (openIdConnectUrl, issuer) => {
    expect(
      read(withSchemes({ o: { type: "openIdConnect", openIdConnectUrl } })).definition.authMethods,
    ).toMatchObject([
      { id: "o", type: "oauth2", oauth2: { issuer, discover: true, defaultScopes: ["openid"] } },
    ]);
  });

  test("those that are asked for together are one method, which has all their fields", () => {
    const schemes = {
      ClientID: { type: "apiKey", in: "header", name: "X-Client" },
      app_secret: { type: "apiKey", in: "query", name: "secret" },
      user: { type: "http", scheme: "basic" },
      tls: { type: "mutualTLS" },
    };
    const [client, secret, user, tls] = [{ ClientID: [] }, { app_secret: [] }, { user: [] }, { tls: [] }];
    const { definition } = read(
      withSchemes(schemes, { ...client, ...secret, ...user }, { ...tls, ...client }),
    );
    expect(definition.authMethods).toMatchObject([
      {
        id: "client-id-app-secret-user",
        type: "custom",
        fields: [
          { name: "clientId" },
          { name: "appSecret" },
          { name: "userUsername" },
          { name: "userPassword" },
        ],
        inject: {
          headers: { "X-Client": "{clientId}" },
          query: { secret: "{appSecret}" },
          basic: { username: "{userUsername}", password: "{userPassword}" },
        },
      },
      { id: "tls-client-id", type: "mtls", inject: { headers: { "X-Client": "{clientId}" } } },
    ]);
  });

  test("the general one comes first, then by use, and last what no operation asks for", () => {
    const schemes = Object.fromEntries(
      ["unasked", "rare", "often", "general"].map((name) => [name, { type: "apiKey", in: "header", name }]),
    );
    const get = (name: string) => ({ get: { security: [{ [name]: [] }, {}] } });
    const paths = { "/a": get("rare"), "/b": get("often"), "/c": get("often"), "/d": { get: {} } };
    const { definition } = read({ ...withSchemes(schemes, { general: [] }), paths });
    expect(definition.authMethods.map(({ id }) => id)).toEqual(["general", "often", "rare", "unasked"]);
  });

  test.each([
    ["a scheme that is not declared", {}, "not declared"],
    ["a kind that nobody knows", { type: "magic" }, 'has the type "magic"'],
    [
      "a header that only Patchbay sets",
      { type: "apiKey", in: "header", name: "Host" },
      "inject.headers.Host: only Patchbay",
    ],
    ["what is computed for each request", { type: "http", scheme: "digest" }, "computed"],
    [
      "a flow without its URL",
      { type: "oauth2", flows: { clientCredentials: { scopes: {} } } },
      "oauth2.tokenUrl: give it",
    ],
    [
      "a URL that cannot be called",
      { type: "oauth2", flows: { clientCredentials: { tokenUrl: "ftp://x" } } },
      "oauth2.tokenUrl",
    ],
    [
      "what the protocol says itself",
      {
        type: "oauth2",
        flows: {
          authorizationCode: {
            authorizationUrl: "https://a.example?redirect_uri=x",
            tokenUrl: "https://a.example",
          },
        },
      },
      "redirect_uri",
    ],
    [
      "an issuer that says nothing of itself",
      { type: "openIdConnect", openIdConnectUrl: "https://id.example/config" },
      "well-known",
    ],
  ])("%s is reported, and not made one", (_, scheme, reason) => {
    const schemes = Object.keys(scheme).length === 0 ? {} : { s: scheme };
    const { definition, problems } = read(withSchemes(schemes, { s: [] }));
    expect(definition.authMethods).toEqual([]);
    expect(problems).toMatchObject([{ pointer: "/security/0", reason: expect.stringContaining(reason) }]);
  });

  test.each([
    [
      "OAuth and a key",
      {
        o: { type: "openIdConnect", openIdConnectUrl: "https://id.example/.well-known/openid-configuration" },
      },
    ],
    ["two in the same header", { o: { type: "http", scheme: "basic" } }],
  ])("%s at once are reported", (_, other) => {
    const schemes = { ...other, k: { type: "apiKey", in: "header", name: "authorization" } };
    const { definition, problems } = read(withSchemes(schemes, { o: [], k: [] }));
    expect(definition.authMethods).toEqual([]);
    expect(problems).toHaveLength(1);
  });
});

test.each([
  ["OAuth2Security", "oauth2-security"],
  ["accountSid_authToken", "account-sid-auth-token"],
  ["APIKey", "api-key"],
  ["日本", "method"],
  ["x".repeat(100), "x".repeat(63)],
])("the scheme %s gives its name to a method", (scheme, id) => {
  const { definition } = read(withSchemes({ [scheme]: { type: "http", scheme: "bearer" } }));
  expect(definition.authMethods.map((method) => method.id)).toEqual([id]);
});

test("of more servers and ways to sign in than any service has, the first are read, and the rest is reported", () => {
  const many = Array.from({ length: 20_000 }, (_, i) => i);
  const url = `wss://${"{a}{b}".repeat(100)}.bank.example/${"{c}/".repeat(100)}`;
  const security = many.map((i) => ({ [`s${i}`]: [] }));
  const { problems } = read({ ...withServers(...many.map(() => ({ url }))), security });
  expect(problems).toContainEqual({
    pointer: "/servers",
    reason: expect.stringContaining("more servers than are read"),
  });
  expect(problems).toContainEqual({
    pointer: "/security/19999",
    reason: expect.stringContaining("is not read"),
  });
});

test("a Swagger 2.0 document says the same by other names", () => {
  const { definition } = read(
    upgraded({
      swagger: "2.0",
      info: { title: "Pets", version: "1" },
      host: "pets.example",
      basePath: "/v2",
      schemes: ["http", "https"],
      securityDefinitions: {
        key: { type: "apiKey", in: "header", name: "api_key" },
        o: {
          type: "oauth2",
          flow: "accessCode",
          authorizationUrl: "https://id.example/a",
          tokenUrl: "https://id.example/t",
          scopes: { read: "" },
        },
      },
      paths: {},
    }),
  );
  expect(definition).toMatchObject({
    name: "Pets",
    baseUrl: "https://pets.example/v2",
    authMethods: [{ type: "api_key" }, { oauth2: { grant: "authorization_code", defaultScopes: ["read"] } }],
  });
});

test("GitHub's document has a base URL, and says nothing of how one signs in", () => {
  const document: unknown = createRequire(import.meta.url)("@octokit/openapi/generated/api.github.com.json");
  const { definition, problems, isOwnServer } = read(document as JsonObject);
  expect(definition).toEqual({
    name: expect.any(String),
    baseUrl: "https://api.github.com",
    authMethods: [],
  });
  expect(problems).toEqual([]);
  expect(isOwnServer([{ url: "https://uploads.github.com" }])).toBe(false);
});

describe("whatever a document says,", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom("{a}", "https://", "/x/../y", "constructor", "__proto__", "Cookie", "x".repeat(3000)),
    fc.webUrl({ withQueryParameters: true, withFragments: true }),
  );
  const template = fc.constantFrom(
    "https://{a}.bank.example/{b}",
    "https://{a}/{b}",
    "https://bank.example:{a}",
    "{b}",
  );
  const place = fc.oneof(
    text,
    template,
    fc.constantFrom("https://bank.example/v1", "/v1", "//a.bank.example"),
  );
  const header = fc.oneof({ weight: 3, arbitrary: fc.constantFrom("X-A", "X-B", "x-a") }, text);
  const odd = <T>(usual: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 30, arbitrary: usual }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) });
  const variable = fc.record(
    { default: odd(text), enum: odd(fc.array(text, { maxLength: 4 })), description: odd(text) },
    { requiredKeys: [] },
  );
  const server = fc.record(
    {
      url: odd(place),
      variables: odd(fc.dictionary(fc.constantFrom("a", "b", "__proto__"), odd(variable))),
      description: odd(text),
    },
    { requiredKeys: [] },
  );
  const flow = fc.record(
    {
      authorizationUrl: odd(place),
      tokenUrl: odd(place),
      refreshUrl: odd(place),
      deviceAuthorizationUrl: odd(place),
      scopes: odd(fc.dictionary(text, text)),
    },
    { requiredKeys: [] },
  );
  const scheme = fc.record(
    {
      type: odd(fc.constantFrom("apiKey", "http", "oauth2", "openIdConnect", "mutualTLS")),
      in: odd(fc.constantFrom("header", "query", "cookie")),
      name: odd(header),
      scheme: odd(fc.oneof(text, fc.constantFrom("basic", "bearer"))),
      openIdConnectUrl: odd(text.map((url) => `${url}/.well-known/openid-configuration`)),
      flows: odd(
        fc.dictionary(
          fc.constantFrom("authorizationCode", "clientCredentials", "deviceAuthorization"),
          odd(flow),
        ),
      ),
      description: odd(text),
    },
    { requiredKeys: ["type", "in", "name", "flows"] },
  );
  const name = fc.constantFrom("a", "b", "A b", "constructor", "accessToken", "$ü");
  const security = fc.array(odd(fc.dictionary(name, odd(fc.array(text, { maxLength: 3 })))), {
    maxLength: 4,
  });
  const document = fc.record({
    info: odd(fc.record({ title: odd(text) })),
    servers: odd(fc.array(odd(server), { maxLength: 4 })),
    security: odd(security),
    components: odd(fc.record({ securitySchemes: odd(fc.dictionary(name, odd(scheme))) })),
    paths: odd(fc.dictionary(text, odd(fc.record({ get: odd(fc.record({ security: odd(security) })) })))),
  });

  test("what is read of it could have been written by hand, and each problem names its place", () => {
    fc.assert(
      fc.property(document, fc.option(fc.webUrl(), { nil: undefined }), (one, url) => {
        const { problems } = read(one, url);
        for (const { pointer, reason } of problems) {
          expect(pointer).toMatch(/^\//);
          expect(reason).not.toBe("");
        }
      }),
      { numRuns: 150 },
    );
  });
});
