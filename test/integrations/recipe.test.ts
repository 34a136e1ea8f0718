import { describe, expect, test } from "vitest";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { AuthMethod, Integration } from "#src/integrations/integration.ts";
import { methodOf, prepare } from "#src/integrations/recipe.ts";
import { undescribed } from "#src/integrations/standard.ts";

const token: AuthMethod = {
  id: "token",
  type: "custom",
  label: "Token",
  fields: [
    { name: "token", secret: true, pattern: "^tok_[a-z0-9]{4,32}$" },
    { name: "account", secret: false, optional: true },
  ],
  inject: { headers: { Authorization: "Token {token}", "X-Account": "{account}" } },
};

const shop: Integration = {
  slug: "custom:shop",
  name: "Shop",
  baseUrl: "https://{shop}.shop.example/api/{stage}",
  placeholders: {
    shop: { in: "host", pattern: "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$", example: "acme" },
    stage: { in: "path", enum: ["live", "test"], default: "live", example: "live" },
  },
  requiredHeaders: { "X-Stage": "{stage}" },
  optionalHeaders: { "Shop-Version": "^[0-9]{4}$" },
  authMethods: [token],
  version: 3,
};

const good = { token: "tok_abcd", shop: "acme" };

test("what is given ends up in the base URL, the headers, the params and the secrets", () => {
  const { recipe, ...rest } = prepare(shop, token, {
    values: { ...good, account: "7", "Shop-Version": "2026" },
  });
  expect(rest).toEqual({
    baseUrl: "https://acme.shop.example/api/live",
    params: { shop: "acme", stage: "live", account: "7", "Shop-Version": "2026" },
    secrets: { token: "tok_abcd" },
  });
  expect(recipe).toMatchObject({ version: 3, headers: { "X-Stage": "live", "Shop-Version": "2026" } });
});

test("what was prepared once can be prepared again from its own params", () => {
  const once = prepare(shop, token, { values: { ...good, "Shop-Version": "2026" } });
  expect(prepare(shop, token, { values: { ...once.params, ...once.secrets } })).toEqual(once);
});

test("an optional field that is left out is no param", () => {
  expect(prepare(shop, token, { values: good }).params).not.toHaveProperty("account");
});

test("the OAuth URLs of the recipe hold the connection's values", () => {
  const oauth: AuthMethod = {
    id: "oauth",
    type: "oauth2",
    label: "OAuth",
    fields: [],
    inject: { headers: { Authorization: "Bearer {accessToken}" } },
    oauth2: {
      grant: "authorization_code",
      issuer: "https://{shop}.shop.example/",
      authorizationUrl: "https://{shop}.shop.example/authorize",
      tokenUrl: "https://{shop}.shop.example/token",
      pkce: "required",
      clientAuthentication: "post",
      scopeSeparator: " ",
      defaultScopes: [],
      refresh: "rotating",
      extraTokenParameters: { audience: "https://{shop}.shop.example/api" },
      responseQuirks: [],
    },
  };
  expect(prepare(shop, oauth, { values: { shop: "acme" } }).recipe.method.oauth2).toMatchObject({
    issuer: "https://acme.shop.example/",
    authorizationUrl: "https://acme.shop.example/authorize",
    tokenUrl: "https://acme.shop.example/token",
    extraTokenParameters: { audience: "https://acme.shop.example/api" },
  });
});

describe("a value is refused by its name, and not repeated, if it", () => {
  test.each([
    ["is missing", { ...good, token: "" }, "token: give a value"],
    ["is missing, with an example", { token: good.token }, "shop: give a value, such as acme"],
    [
      "does not match the pattern",
      { ...good, token: "sesame-4711" },
      "token: give a value that matches ^tok_[a-z0-9]{4,32}$",
    ],
    [
      "matches in its first line only",
      { ...good, token: "tok_abcd\nsesame-4711" },
      "token: give a value that matches ^tok_[a-z0-9]{4,32}$",
    ],
    ["is not in the list", { ...good, stage: "sesame-4711" }, "stage: give one of live, test"],
    [
      "breaks a header",
      { ...good, account: "7\r\nsesame-4711: 1" },
      "account: line breaks and control characters are not sent; give the value alone",
    ],
    [
      "is no header text",
      { ...good, account: "ä sesame-4711" },
      "account: only visible ASCII characters can be sent in a header",
    ],
    [
      "is asked for by nothing",
      { ...good, tokn: "sesame-4711" },
      "tokn: is not asked for by token of custom:shop; it takes token, account, shop, stage, Shop-Version",
    ],
    [
      "stands where a name should",
      { ...good, "sesame-4711 sesame-4711 sesame-4711": "x" },
      "a name that is given is not asked for by token of custom:shop; " +
        "it takes token, account, shop, stage, Shop-Version",
    ],
    [
      "is a version that the header does not have",
      { ...good, "Shop-Version": "sesame-4711" },
      "Shop-Version: give a value that matches ^[0-9]{4}$",
    ],
  ])("%s", (_, values, message) => {
    const preparing = () => prepare(shop, token, { values });
    expect(preparing).toThrow(new InvalidRequest(message));
    expect(message).not.toContain("sesame");
  });
});

describe("the base URL", () => {
  const bearer = methodOf(undescribed("custom:bank"), "bearer");
  const values = { token: "s3cret" };

  test("is the caller's where the integration has none", () => {
    const open = undescribed("custom:bank");
    expect(prepare(open, bearer, { baseUrl: "https://bank.example/api/", values }).baseUrl).toBe(
      "https://bank.example/api",
    );
    expect(() => prepare(open, bearer, { values })).toThrow("baseUrl: give the URL where the service is");
  });

  test("is not the caller's where the integration has one", () => {
    const elsewhere = () => prepare(shop, token, { baseUrl: "https://evil.example", values: good });
    expect(elsewhere).toThrow(
      "baseUrl: custom:shop is at https://acme.shop.example/api/live; give that, or leave it out",
    );
    const same = prepare(shop, token, { baseUrl: "https://acme.shop.example/api/live/", values: good });
    expect(same.baseUrl).toBe("https://acme.shop.example/api/live");
  });
});

test("a method that the integration does not have is refused with those it has", () => {
  expect(() => methodOf(shop, "basic")).toThrow("authMethod: custom:shop has token; give one of them");
});

test("a long value in many templates is refused, as each call would hold it", () => {
  const headers = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`X-${i}`, "{token}"]));
  const method: AuthMethod = { ...token, fields: [{ name: "token", secret: true }], inject: { headers } };
  const prepared = (length: number) =>
    prepare({ ...shop, authMethods: [method] }, method, {
      values: { shop: "acme", token: "a".repeat(length) },
    });
  expect(prepared(5_000).secrets["token"]).toHaveLength(5_000);
  expect(() => prepared(10_000)).toThrow("give shorter values");
});
