import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { inject } from "#src/integrations/inject.ts";
import { bearerRecipe, type AuthMethod, type InjectionTemplate } from "#src/integrations/integration.ts";

/** A recipe with this way to put fields into requests. */
function recipe(
  template: InjectionTemplate,
  headers: Readonly<Record<string, string>> = {},
  fields: AuthMethod["fields"] = [],
) {
  return { method: { ...bearerRecipe.method, inject: template, fields }, headers };
}

const nothing = { headers: {}, query: {}, cookies: {}, body: {}, certificate: undefined };

test("a recipe that served one call keeps nothing of it for the next", () => {
  const used = recipe({ headers: { "x-key": "{key}" }, query: { region: "{region}" } }, {}, [
    { name: "region", secret: false, optional: true },
  ]);
  const sent = (params: Record<string, string>, key: string) => {
    const { headers, query, secrets } = inject(used, params, { key });
    return { key: headers["x-key"], query, secrets };
  };
  const [first, second] = ["first-secret", "second-secret"];
  expect(sent({ region: "eu" }, first)).toEqual({ key: first, query: { region: "eu" }, secrets: [first] });
  expect(sent({}, second)).toEqual({ key: second, query: {}, secrets: [second] });
  expect(sent({ region: "us" }, first)).toEqual({ key: first, query: { region: "us" }, secrets: [first] });
});

describe("a credential goes", () => {
  test.each<[string, InjectionTemplate, Record<string, string>, Record<string, unknown>]>([
    [
      "into a header, whose name is written small",
      { headers: { "X-Api-Key": "{apiKey}", "X-Api-Secret": "v1:{secret}" } },
      { apiKey: "key-12345", secret: "secret-12345" },
      { headers: { "x-api-key": "key-12345", "x-api-secret": "v1:secret-12345" } },
    ],
    ["into the query", { query: { key: "{apiKey}" } }, { apiKey: "a&b=c ü" }, { query: { key: "a&b=c ü" } }],
    [
      "into a cookie",
      { cookies: { session: "{apiKey}" } },
      { apiKey: "a=b" },
      { cookies: { session: "a=b" } },
    ],
    ["into the body", { body: { token: "{apiKey}" } }, { apiKey: '"a",' }, { body: { token: '"a",' } }],
    [
      "into HTTP Basic, in UTF-8 and with colons in the password",
      { basic: { username: "{user}/token", password: "{password}" } },
      { user: "jürgen", password: "pä:ss:wörd 猫" },
      {
        headers: {
          authorization: `Basic ${Buffer.from("jürgen/token:pä:ss:wörd 猫").toString("base64")}`,
        },
      },
    ],
    [
      "into HTTP Basic as the user name alone",
      { basic: { username: "{apiKey}", password: "" } },
      { apiKey: "sk_live_1" },
      { headers: { authorization: `Basic ${Buffer.from("sk_live_1:").toString("base64")}` } },
    ],
    [
      "into a TLS handshake, line breaks and all",
      { certificate: { certificate: "{certificate}", privateKey: "{privateKey}" } },
      { certificate: "-----BEGIN\r\n", privateKey: "-----BEGIN\n" },
      { certificate: { certificate: "-----BEGIN\r\n", privateKey: "-----BEGIN\n" } },
    ],
  ])("%s", (_, template, secrets, expected) => {
    const { secrets: _sought, ...injection } = inject(recipe(template), {}, secrets);
    expect(injection).toStrictEqual({ ...nothing, ...expected });
  });
});

describe("a template", () => {
  test("is filled with what the connection says and with its secrets, and of one name a secret counts", () => {
    const template = { headers: { "x-account": "{account}:{key}" } };
    expect(
      inject(recipe(template), { account: "acme", key: "param" }, { key: "secret" }).headers,
    ).toStrictEqual({
      "x-account": "acme:secret",
    });
  });

  test("is left out if nothing gives an optional field of it, and a part of HTTP Basic is empty then", () => {
    const fields = [
      { name: "organization", secret: false, optional: true },
      { name: "password", secret: true, optional: true },
    ];
    const templates = {
      headers: { "x-organization": "{organization}", "x-api-key": "{key}" },
      query: { organization: "{key}/{organization}" },
      basic: { username: "{key}", password: "{password}" },
    };
    for (const given of [{}, { organization: "", password: "" }] as Record<string, string>[]) {
      const { headers, query } = inject(recipe(templates, {}, fields), given, { key: "k" });
      expect(query).toStrictEqual({});
      expect(headers).toStrictEqual({ "x-api-key": "k", authorization: `Basic ${btoa("k:")}` });
    }
  });

  test.each(["constructor", "toString", "missing"])(
    "never takes {%s} from anywhere but the fields",
    (name) => {
      expect(() => inject(recipe({ headers: { "x-a": `{${name}}` } }), {}, {})).toThrow(
        /which nothing gives/,
      );
    },
  );

  test("fills no template that a value holds", () => {
    const { headers } = inject(recipe({ headers: { "x-a": "{a}" } }), {}, { a: "{b}", b: "secret" });
    expect(headers).toStrictEqual({ "x-a": "{b}" });
  });
});

test("headers that each request has come before the credential, which replaces them", () => {
  const headers = { Accept: "application/json", "X-Api-Key": "public", "x-braces": "{key}" };
  const injected = inject(
    recipe({ headers: { "x-api-key": "{key}" } }, headers),
    {},
    { key: "secret-1" },
  ).headers;
  expect(injected).toStrictEqual({
    accept: "application/json",
    "x-api-key": "secret-1",
    "x-braces": "{key}",
  });
});

describe("a header that only Patchbay may set is not injected", () => {
  const reserved = [
    ...[
      "Host",
      "Content-Length",
      "Transfer-Encoding",
      "Connection",
      "Keep-Alive",
      "TE",
      "Trailer",
      "Upgrade",
    ],
    ...["Expect", "Accept-Encoding", "Cookie", "Cookie2", "Forwarded", "X-Forwarded-For", "X_Forwarded_Host"],
    ...["Proxy-Authorization", "Proxy", "X-Caller-Service", "x.caller.service", "HTTP2-Settings"],
    ...["X-HTTP-Method", "X-HTTP-Method-Override", "X_Method_Override"],
  ];
  test.each(reserved)("%s, neither as the credential nor with it", (name) => {
    const refusal = expect.objectContaining({
      reason: "INVALID_OUTBOUND_REQUEST",
      message: expect.stringContaining(`the header ${name} into requests`) as string,
    }) as Error;
    expect(() => inject(recipe({ headers: { [name]: "{key}" } }), {}, { key: "evil-canary" })).toThrow(
      refusal,
    );
    expect(() => inject(recipe({}, { [name]: "evil-canary" }), {}, {})).toThrow(refusal);
  });
});

describe("a stored value that its place cannot carry is refused by the name of its field, and not shown", () => {
  const places: [string, InjectionTemplate][] = [
    ["a header", { headers: { "x-a": "Bearer {field}" } }],
    ["a query", { query: { a: "{field}" } }],
    ["a cookie", { cookies: { a: "{field}" } }],
    ["a body", { body: { a: "{field}" } }],
    ["a user name", { basic: { username: "{field}", password: "" } }],
    ["a password", { basic: { username: "u", password: "{field}" } }],
  ];
  const everywhere = ["zq7\r\nx-b: 1", "zq7\n", "zq7\r", "zq7\0", "zq7\u0085", "zq7\ud800"];
  const cases = [
    ...places.flatMap(([place, template]) => everywhere.map((value) => [place, template, value] as const)),
    ["a header", places[0]![1], "zq7ä"] as const,
    ["a header", places[0]![1], ""] as const,
    ["a header", places[0]![1], "zq7 "] as const,
    ...[";", ",", " ", '"', "\\", "ä"].map((sign) => ["a cookie", places[2]![1], `zq7${sign}b=1`] as const),
    ["a user name", places[4]![1], "zq7:more"] as const,
    ["a certificate", { certificate: { certificate: "{field}", privateKey: "{field}" } }, "zq7\0"] as const,
  ];
  test.each(cases)("%s, %j: %j", (_, template, value) => {
    let refusal: unknown;
    try {
      inject(recipe(template), {}, { field: value, other: "fine" });
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({
      reason: "INVALID_OUTBOUND_REQUEST",
      kind: "invalid_argument",
      message: expect.stringMatching(
        /^field: the stored value cannot be sent: .+; store the credential again$/,
      ) as string,
    });
    expect(String(refusal)).not.toMatch(/zq7/);
  });
});

describe("the answer is searched for", () => {
  const sought = (
    template: InjectionTemplate,
    secrets: Record<string, string>,
    params: Record<string, string> = {},
  ) => inject(recipe(template), params, secrets).secrets;

  test("each secret, sent or not", () => {
    const secrets = {
      accessToken: "access-token",
      clientSecret: "client-secret",
      refreshToken: "refresh-token",
    };
    expect(sought({ headers: { authorization: "Bearer {accessToken}" } }, secrets)).toStrictEqual(
      Object.values(secrets),
    );
  });

  test("the pair of HTTP Basic, as it is and as it is sent", () => {
    const base64 = Buffer.from("user:password").toString("base64");
    const basic = { username: "{user}", password: "{password}" };
    expect(sought({ basic }, { password: "password" }, { user: "user" })).toStrictEqual([
      "password",
      base64,
      "user:password",
    ]);
    expect(sought({ basic }, { password: "pw" }, { user: "u" })).toStrictEqual([
      "Basic dTpwdw==",
      "dTpwdw==",
    ]);
  });

  test("what carries a secret that is too short to be looked for alone", () => {
    const token = { token: "none" };
    expect(sought({ headers: { authorization: "Bearer {token}" } }, token)).toStrictEqual(["Bearer none"]);
    expect(sought({ headers: { "X-Key": "{token}" } }, token)).toStrictEqual([
      "x-key: none",
      '"x-key":"none"',
    ]);
    expect(sought({ query: { key: "{token}" } }, token)).toStrictEqual(["key=none"]);
    expect(sought({ cookies: { key: "{token}" } }, token)).toStrictEqual(["key=none"]);
    expect(sought({ body: { key: "{token}" } }, token)).toStrictEqual(["key=none", '"key":"none"']);
  });

  test("nothing where there is no secret", () => {
    expect(
      sought({ headers: { "x-account": "{account}" } }, { unused: "" }, { account: "acme" }),
    ).toStrictEqual([]);
  });
});

test("whatever the values, each template becomes one text of one line, or the call is refused", () => {
  const anyText = fc.string({
    unit: fc.oneof(
      fc.constantFrom("\r", "\n", "\0", ";", ",", "{", "}", ":", " "),
      fc.string({ maxLength: 2, unit: "binary" }),
    ),
  });
  const template = {
    headers: { "x-a": "{a}" },
    query: { q: "{a}" },
    cookies: { c: "{b}" },
    body: { m: "{b}" },
    basic: { username: "{a}", password: "{b}" },
  };
  fc.assert(
    fc.property(anyText, anyText, (a, b) => {
      let injection;
      try {
        injection = inject(recipe(template), { a }, { b });
      } catch (error) {
        expect(error).toMatchObject({ reason: "INVALID_OUTBOUND_REQUEST" });
        return;
      }
      expect(injection.headers["x-a"]).toBe(a);
      expect(injection.query).toStrictEqual({ q: a });
      expect(injection.cookies).toStrictEqual({ c: b });
      expect(injection.body).toStrictEqual({ m: b });
      const [user, ...password] = Buffer.from(injection.headers["authorization"]!.slice(6), "base64")
        .toString()
        .split(":");
      expect([user, password.join(":")]).toStrictEqual([a, b]);
      expect(Object.values(injection.headers).join("")).toMatch(/^[\x20-\x7e]*$/);
      expect(b).toMatch(/^[^\s;,"\\]+$/);
      expect(a).not.toContain(":");
    }),
    { numRuns: 2_000 },
  );
});
