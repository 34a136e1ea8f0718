import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => (service = await startService()));
afterAll(() => service[Symbol.asyncDispose]());

const host = { place: "host", pattern: "^[a-z]+$", example: "acme" };
const field = { name: "key", secret: true };
const method = {
  id: "key",
  type: "api_key",
  label: "Key",
  fields: [field],
  inject: { headers: { "X-Key": "{key}" } },
};
const base = {
  name: "Bank",
  baseUrl: "https://{bank}.bank.example",
  placeholders: { bank: host },
  authMethods: [method],
};
const oauth = {
  grant: "client_credentials",
  tokenUrl: "https://id.bank.example/token",
  pkce: "ignored",
  clientAuthentication: "post",
  scopeSeparator: " ",
  refresh: "none",
};

const put = (body: object) => service.org.rest("PUT", "/api/integrations/custom:bank", body);
const withMethod = (more: object) => ({ ...base, authMethods: [{ ...method, ...more }] });
const withHeaders = (headers: object) => withMethod({ inject: { headers } });
const withField = (more: object) => withMethod({ fields: [{ ...field, ...more }] });
const withHost = (baseUrl: string, more: object = {}) => ({
  ...base,
  baseUrl,
  placeholders: { bank: { ...host, ...more } },
});
const withOAuth = (more: object) => ({
  ...base,
  authMethods: [{ id: "o", type: "oauth2", label: "O", oauth2: { ...oauth, ...more } }],
});

test("what is sound is stored", async () => {
  expect((await put(base)).status).toBe(200);
  expect((await put(withOAuth({}))).status).toBe(200);
});

describe("a definition is refused by the member that is wrong:", () => {
  test.each([
    [
      "a header that only Patchbay sets",
      withHeaders({ Host: "evil.example" }),
      "authMethods[0].inject.headers.Host: only Patchbay",
    ],
    [
      "the same in disguise",
      withHeaders({ "X_Forwarded.For": "{key}" }),
      "authMethods[0].inject.headers.X_Forwarded.For: only",
    ],
    [
      "a length",
      withHeaders({ "Content-Length": "1" }),
      "authMethods[0].inject.headers.Content-Length: only",
    ],
    [
      "a cookie as a header",
      withHeaders({ Cookie: "a={key}" }),
      "authMethods[0].inject.headers.Cookie: only",
    ],
    [
      "another method",
      withHeaders({ "X-HTTP-Method-Override": "DELETE" }),
      "authMethods[0].inject.headers.X-HTTP-Method-Override",
    ],
    [
      "a hop-by-hop header",
      { ...base, requiredHeaders: { Connection: "x-key" } },
      "requiredHeaders.Connection: only",
    ],
    ["an optional reserved one", { ...base, optionalHeaders: { TE: "^a$" } }, "optionalHeaders.TE: only"],
    [
      "a header of the probe",
      { ...base, probe: { method: "GET", path: "/", status: 200, headers: { Host: "a" } } },
      "probe.headers.Host",
    ],
    ["no header's name", withHeaders({ "X Key": "{key}" }), "authMethods[0].inject.headers: a name has"],
    [
      "a line break in a header",
      withHeaders({ "X-Key": "{key}\r\nHost: evil.example" }),
      "authMethods[0].inject.headers.X-Key: a header",
    ],
    [
      "a line break in a name",
      withHeaders({ "X-Key\r\nHost": "{key}" }),
      "authMethods[0].inject.headers: a name has",
    ],
    [
      "a line break in a cookie",
      withMethod({ inject: { cookies: { a: "{key}\n" } } }),
      "authMethods[0].inject.cookies.a: leave out",
    ],
    [
      "a header twice",
      withHeaders({ "X-Key": "{key}", "x-key": "1" }),
      "authMethods[0].inject.headers: x-key is there twice",
    ],
    [
      "Authorization twice",
      withMethod({ inject: { headers: { authorization: "{key}" }, basic: { username: "{key}" } } }),
      "authMethods[0].inject.basic: is sent as",
    ],
    [
      "a name that nothing gives",
      withHeaders({ "X-Key": "{kye}" }),
      "authMethods[0].inject.headers.X-Key: {kye} is declared nowhere",
    ],
    ["an expression", withHeaders({ "X-Key": "{{key}}" }), "authMethods[0].inject.headers.X-Key: braces"],
    ["nothing to inject", withMethod({ inject: {} }), "authMethods[0].inject: say where"],
    [
      "a field of every object",
      withField({ name: "constructor" }),
      "authMethods[0].fields[0].name: a name begins",
    ],
    ["a field twice", withMethod({ fields: [field, field] }), "authMethods[0].fields: key is there twice"],
    [
      "a field that is a placeholder, too",
      withField({ name: "bank" }),
      "authMethods[0].fields: bank is there twice",
    ],
    [
      "a secret that is an optional header, too, and so would be shown",
      { ...base, optionalHeaders: { key: "^.+$" } },
      "authMethods[0].fields: key is there twice",
    ],
    ["a method twice", { ...base, authMethods: [method, method] }, "authMethods: key is there twice"],
    [
      "a secret in the URL of the probe",
      { ...base, probe: { method: "GET", path: "/{key}", status: 200 } },
      "probe.path: {key} is declared nowhere",
    ],
    [
      "dots in the probe's path",
      { ...base, probe: { method: "GET", path: "/../x", status: 200 } },
      "probe.path: the segments",
    ],
    [
      "a field in the base URL",
      { ...base, baseUrl: "https://{key}.bank.example" },
      "baseUrl: {key} is declared nowhere",
    ],
    ["a free host", withHost("https://{bank}"), "baseUrl: {bank} is free and must stand before a domain"],
    ["the end of a free host", withHost("https://{bank}bank.example"), "baseUrl: {bank} is free"],
    ["a free host before a top-level domain", withHost("https://{bank}.example"), "baseUrl: {bank} is free"],
    [
      "a free host before a list with a top-level domain",
      {
        ...withHost("https://{bank}.{domain}"),
        placeholders: {
          bank: host,
          domain: { place: "host", oneOf: ["bank.example", "com"], example: "bank.example" },
        },
      },
      "baseUrl: {bank} is free",
    ],
    [
      "a host that is sent in other letters",
      withHost("https://{bank}.bänk.example/{bank}"),
      "baseUrl: {bank} is free",
    ],
    [
      "the same before a value",
      withHost("https://bänk.example/{bank}"),
      "baseUrl: write its host as it is sent",
    ],
    [
      "an address in another spelling",
      withHost("https://127.1/{bank}"),
      "baseUrl: write its host as it is sent",
    ],
    [
      "a value again and again",
      withHeaders({ "X-Key": "{key}".repeat(9) }),
      "authMethods[0].inject.headers.X-Key: a template has at most 8 names",
    ],
    ["a free port", withHost("https://bank.example:{bank}"), "baseUrl: {bank} is free"],
    [
      "a path in the host",
      withHost("https://{bank}.bank.example", { place: "path" }),
      "baseUrl: {bank} is declared for another place",
    ],
    ["user info", { ...base, baseUrl: "https://u:p@bank.example" }, "baseUrl: leave out user name"],
    ["another scheme", { ...base, baseUrl: "file:///etc/passwd" }, "baseUrl: give an absolute"],
    ["a fragment", { ...base, baseUrl: "https://bank.example#a" }, "baseUrl: leave out query"],
    [
      "an address that is never called",
      { ...base, baseUrl: "http://169.254.169.254" },
      "169.254.169.254 may not be called",
    ],
    [
      "the same for a token",
      withOAuth({ tokenUrl: "http://169.254.169.254/token" }),
      "169.254.169.254 may not be called",
    ],
    [
      "a token URL with a query",
      withOAuth({ tokenUrl: "https://a.example/t?x=1" }),
      "authMethods[0].oauth2.tokenUrl: leave out",
    ],
    [
      "a grant without its URL",
      withOAuth({ grant: "authorization_code" }),
      "authMethods[0].oauth2.authorizationUrl: give it",
    ],
    [
      "a discovery without an issuer",
      withOAuth({ discover: true }),
      "authMethods[0].oauth2.issuer: give the issuer",
    ],
    [
      "another redirect",
      withOAuth({ extraAuthorizationParameters: { redirect_uri: "https://evil.example" } }),
      "authMethods[0].oauth2.extraAuthorizationParameters.redirect_uri: the protocol",
    ],
    [
      "what a service could read as another client",
      withOAuth({ extraTokenParameters: { " client.id": "evil" } }),
      "authMethods[0].oauth2.extraTokenParameters. client.id: the protocol",
    ],
    [
      "scopes in the place of the redirect",
      withOAuth({ scopeParameter: "redirect_uri", defaultScopes: ["https://evil.example"] }),
      "authMethods[0].oauth2.scopeParameter: the protocol",
    ],
    [
      "a secret in a token parameter",
      withOAuth({ extraTokenParameters: { a: "{accessToken}" } }),
      "authMethods[0].oauth2.extraTokenParameters.a: {accessToken}",
    ],
    [
      "an unknown quirk",
      withOAuth({ responseQuirks: ["everything"] }),
      "authMethods[0].oauth2.responseQuirks: give some of",
    ],
    ["OAuth of another type", withMethod({ oauth2: oauth }), "authMethods[0].oauth2: belongs to"],
    [
      "a certificate of another type",
      withMethod({ inject: { certificate: { certificate: "{key}", privateKey: "{key}" } } }),
      "authMethods[0].inject.certificate: belongs to",
    ],
    [
      "a placeholder of anything",
      withHost("https://{bank}.bank.example", { pattern: undefined }),
      "placeholders.bank: give a pattern",
    ],
    [
      "an example that is refused",
      withHost("https://{bank}.bank.example", { example: "ACME" }),
      "placeholders.bank: its own example",
    ],
    [
      "a default that is refused",
      withField({ pattern: "^[a-z]+$", default: "A" }),
      "authMethods[0].fields[0]: its own example",
    ],
    ["a pattern of a part", withField({ pattern: "[a-z]+" }), "authMethods[0].fields[0].pattern: begin"],
    [
      "look-around",
      withField({ pattern: "^(?=a)a$" }),
      "authMethods[0].fields[0].pattern: write the pattern in ASCII",
    ],
    [
      "a back-reference",
      withField({ pattern: String.raw`^(a)\1$` }),
      "authMethods[0].fields[0].pattern: give a pattern in the syntax of RE2",
    ],
    [
      "folded Unicode",
      withField({ pattern: String.raw`^\pL{200}$` }),
      "authMethods[0].fields[0].pattern: write",
    ],
    [
      "large counts",
      withField({ pattern: `^${"a{200}".repeat(20)}$` }),
      "authMethods[0].fields[0].pattern: the pattern costs too much",
    ],
    [
      "nested counts",
      withField({ pattern: "^((((a{9}){9}){9}){9})$" }),
      "authMethods[0].fields[0].pattern: the pattern costs too much",
    ],
    [
      "nested counts in a row",
      withField({ pattern: `^${"((a?){16}){16}".repeat(8)}$` }),
      "authMethods[0].fields[0].pattern: the pattern costs too much",
    ],
  ])("%s", async (_, body, text) => {
    const reply = await put(body);
    expect({ status: reply.status, error: reply.body.error }).toEqual({
      status: 400,
      error: expect.stringMatching(new RegExp(`^${RegExp.escape(text)}`)),
    });
  });

  test("more than 64 KiB, however it is spread", async () => {
    const headers = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`X-${i}`, "a".repeat(1000)]));
    const methods = Array.from({ length: 8 }, (_, i) => ({ ...method, id: `m${i}`, inject: { headers } }));
    expect((await put({ ...base, authMethods: methods.slice(0, 5) })).status).toBe(200);
    const reply = await put({ ...base, authMethods: methods });
    expect(reply.body.error).toBe("the definition: at most 65536 characters of JSON are stored");
  });

  test.each([
    ["methods", { ...base, authMethods: Array.from({ length: 11 }, (_, i) => ({ ...method, id: `m${i}` })) }],
    ["fields", withMethod({ fields: Array.from({ length: 11 }, (_, i) => ({ ...field, name: `f${i}` })) })],
    [
      "placeholders",
      { ...base, placeholders: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`p${i}`, host])) },
    ],
    ["headers", withHeaders(Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`X-${i}`, "a"])))],
    [
      "patterns of the largest cost",
      withMethod({
        fields: Array.from({ length: 5 }, (_, i) => ({
          ...field,
          name: `f${i}`,
          pattern: `^[a-z]{25${i}}$`,
        })),
      }),
    ],
    ["text", withMethod({ label: "a".repeat(129) })],
    ["values of a list", withField({ oneOf: Array.from({ length: 51 }, (_, i) => `v${i}`) })],
  ])("too many %s", async (_, body) => {
    expect((await put(body)).status).toBe(400);
  });
});

test("a pattern that would hold a backtracking engine for seconds is stored, and costs nothing", async () => {
  const pattern = "^(([a-z])+.)+[A-Z]([a-z])+$";
  const reply = await put(withField({ pattern, default: `${"a".repeat(28)}Aa` }));
  expect(reply.status).toBe(200);
  const refused = await put(withField({ pattern, default: "a".repeat(60) }));
  expect(refused.body.error).toMatch(/^authMethods\[0\]\.fields\[0\]: its own example/);
});

test("what a request says and the contract does not is refused by its name", async () => {
  expect((await put({ ...base, source: "sibling" })).body.error).toMatch(/source/);
});
