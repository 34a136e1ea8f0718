import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createExchange } from "#src/connections/oauth/fetch.ts";
import { mayReceive } from "#src/connections/oauth/client.ts";
import { TokenFailure } from "#src/connections/oauth/token-failure.ts";
import { createAskForTokens, type TokenRequest } from "#src/connections/oauth/tokens.ts";
import type { OAuth2Method } from "#src/integrations/integration.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { Secret } from "#src/platform/secret.ts";
import {
  answerJson,
  startStrangeAuthorizationServer,
  type StrangeAuthorizationServer,
} from "../../support/strange-authorization-server.ts";

const outbound = createOutbound({
  allow: parseOutboundAllow("127.0.0.1"),
  // As production has it, but for the time that a test would wait.
  limits: { totalMs: 1_500 },
});
const ask = createAskForTokens(createExchange(outbound));
const refresh: TokenRequest = {
  grantType: "refresh_token",
  parameters: { refresh_token: "the-spent-token" },
};

let server: StrangeAuthorizationServer;
beforeAll(async () => {
  server = await startStrangeAuthorizationServer();
});
beforeEach(() => server.behave(() => ({ access_token: "at", token_type: "bearer" })));
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await outbound.close();
});

const method = (more: Partial<OAuth2Method> = {}): OAuth2Method => ({
  grant: "authorization_code",
  tokenUrl: server.tokenUrl,
  pkce: "required",
  clientAuthentication: "none",
  scopeSeparator: " ",
  defaultScopes: [],
  refresh: "rotating",
  responseQuirks: [],
  ...more,
});

/** Asks as a client, whose secret is bound to the server unless the test says otherwise. */
const askAs = (more: Partial<OAuth2Method> = {}, boundTo = server.tokenUrl, request = refresh) =>
  ask(
    {
      orgId: "org_a",
      method: method(more),
      client: { clientId: "us-and.them", secret: Secret.fromText("s3cret+/=:x"), boundTo },
    },
    request,
  );

async function failure(asking: Promise<unknown>): Promise<TokenFailure> {
  const error: unknown = await asking.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(TokenFailure);
  return error as TokenFailure;
}

describe("the client authenticates as the service wants it", () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;

  test.each([
    [
      "basic, encoded as RFC 6749 has it",
      { clientAuthentication: "basic" },
      "us%2Dand%2Ethem:s3cret%2B%2F%3D%3Ax",
    ],
    ["basic, raw", { clientAuthentication: "basic", basicEncoding: "raw" }, "us-and.them:s3cret+/=:x"],
  ] as const)("%s", async (_, more, credentials) => {
    await askAs(more);
    const { headers, form } = server.asked.at(-1)!;
    expect(headers["authorization"]).toBe(basic(credentials));
    expect(form.get("client_secret")).toBeNull();
  });

  test.each(["post", "either"] as const)("%s: in the body", async (clientAuthentication) => {
    await askAs({ clientAuthentication });
    const { headers, form } = server.asked.at(-1)!;
    expect(headers["authorization"]).toBeUndefined();
    expect(Object.fromEntries(form)).toEqual({
      grant_type: "refresh_token",
      refresh_token: "the-spent-token",
      client_id: "us-and.them",
      client_secret: "s3cret+/=:x",
    });
  });

  test("none: the id alone, though there is a secret", async () => {
    await askAs({ clientAuthentication: "none" });
    expect(server.asked.at(-1)!.form.get("client_id")).toBe("us-and.them");
    expect(server.asked.at(-1)!.form.get("client_secret")).toBeNull();
  });
});

describe("a client secret goes to the place that it was stored for", () => {
  test.each([
    ["https://a.example/token", "https://a.example/token", true],
    ["https://a.example/token", "https://a.example/revoke?x=1", true],
    ["https://a.example/token", "https://A.EXAMPLE/token", true],
    ["https://{shop}.a.example/token", "https://north.a.example/token", true],
    ["https://a.example/token", "https://b.example/token", false],
    ["https://a.example/token", "http://a.example/token", false],
    ["https://a.example/token", "https://a.example:444/token", false],
    ["https://a.example/token", "https://a.example.evil.example/token", false],
    ["https://a.example/token", "https://aXexample/token", false],
    ["https://{shop}.a.example/token", "https://evil.example/.a.example/token", false],
    ["https://{shop}.a.example/token", "https://acme.eu.a.example/token", true],
    ["https://{shop}.a.example/token", "https://.a.example/token", false],
    ["https://{shop}.{a.example|b.example}/token", "https://acme.b.example/token", true],
    ["https://{shop}.{a.example|b.example}/token", "https://acme.c.example/token", false],
    ["https://{shop}.{a.example|b.example}/token", "https://acme.aXexample/token", false],
    ["https://{a.example|b.example}/token", "https://x.a.example/token", false],
    ["https://{shop}.a.example/token", "https://evil.example#.a.example/token", false],
    ["https://api.{eu|us}.a.example/token", "https://api.eu.a.example/token", true],
    ["https://api.{eu|us}.a.example/token", "https://api.evil.a.example/token", false],
    ["", "", false],
    ["", "https://a.example", false],
  ])("stored for %s, asked at %s: %s", (boundTo, url, expected) => {
    expect(mayReceive(boundTo, url)).toBe(expected);
  });

  test("and to another one nothing is sent", async () => {
    const before = server.asked.length;
    const refused = await failure(askAs({ clientAuthentication: "post" }, "https://a.example/token"));
    expect(refused).toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("store the OAuth client"),
    });
    expect(server.asked).toHaveLength(before);
  });
});

test("a token is read with its lifetime and scopes", async () => {
  server.behave(() => ({
    access_token: "at",
    token_type: "Bearer",
    refresh_token: "rt",
    expires_in: "3600",
    refresh_token_expires_in: 86_400,
    scope: "read write",
    id_token: "not.a.jwt",
    api_domain: "https://eu.example",
  }));
  expect(await askAs()).toEqual({
    accessToken: "at",
    refreshToken: "rt",
    expiresInSeconds: 3600,
    refreshExpiresInSeconds: 86_400,
    scopes: ["read", "write"],
    answer: expect.objectContaining({ api_domain: "https://eu.example" }),
  });
});

test.each([0, -1, "0"])(
  "a lifetime of %s is no lifetime: it would be a refresh before each call",
  async (expires_in) => {
    server.behave(() => ({ access_token: "at", token_type: "bearer", expires_in }));
    const answered = askAs().catch((error: unknown) => error);
    // The library refuses a negative one.
    if (expires_in === -1) expect(await failure(askAs())).toMatchObject({ kind: "unusable" });
    else expect(await answered).toMatchObject({ accessToken: "at", expiresInSeconds: undefined });
  },
);

test.each([1e20, "1e300", 4e11])(
  "a lifetime of %s ends while dates can still be written",
  async (expires_in) => {
    const more = { expires_in, refresh_token_expires_in: expires_in };
    server.behave(() => ({ access_token: "at", token_type: "bearer", ...more }));
    const { expiresInSeconds, refreshExpiresInSeconds } = await askAs();
    for (const seconds of [expiresInSeconds, refreshExpiresInSeconds]) {
      expect(new Date(Date.now() + seconds! * 1000).toISOString()).toMatch(/^2\d{3}-/);
    }
  },
);

test.each([
  ["breaks a line", { access_token: "at\r\nx-evil: 1" }],
  ["is not ASCII", { access_token: "at\u{1f600}" }],
  ["is longer than any header", { access_token: "a".repeat(70_000) }],
  ["could not be sent back", { access_token: "at", refresh_token: "rt\u0000" }],
])("a token that %s is none", async (_, token) => {
  server.behave(() => ({ token_type: "bearer", ...token }));
  expect(await failure(askAs())).toMatchObject({
    kind: "unusable",
    message: expect.stringContaining("not visible ASCII"),
  });
});

test("scopes with commas are told apart", async () => {
  server.behave(() => ({ access_token: "at", token_type: "bearer", scope: "a,b c" }));
  expect(await askAs({ scopeSeparator: "," })).toMatchObject({ scopes: ["a", "b", "c"] });
});

const gigabyte = 1024 * 1024 * 1024;

describe("what gives no token is told by its kind", () => {
  test.each([
    ["an error code", 400, { error: "invalid_grant" }, "refused"],
    ["an error code with status 401", 401, { error: "invalid_client" }, "refused"],
    ["status 500", 500, { error: "invalid_grant" }, "unavailable"],
    ["status 503", 503, {}, "unavailable"],
    ["status 429", 429, { error: "slow_down" }, "unavailable"],
    ["status 404 without a code", 404, {}, "unusable"],
    ["no token", 200, {}, "unusable"],
    ["a token of a type that nobody knows", 200, { access_token: "at", token_type: "mac" }, "unusable"],
    ["an error with status 200, which the integration does not admit", 200, { error: "x" }, "unusable"],
  ])("%s: %s %j is %s", async (_, status, body, kind) => {
    server.behave((_asked, response) => answerJson(response, status, body));
    expect(await failure(askAs())).toMatchObject({ kind });
  });

  test("the error's code is kept, also behind a challenge", async () => {
    server.behave((_, response) => {
      response.setHeader("www-authenticate", 'Basic realm="x"');
      answerJson(response, 401, { error: "invalid_client" });
    });
    expect(await failure(askAs())).toMatchObject({ kind: "refused", code: "invalid_client" });
  });

  test("an error with status 200 that the integration admits is refused with its code", async () => {
    server.behave(() => ({ error: "invalid_grant" }));
    const refused = await failure(askAs({ responseQuirks: ["error_in_200"] }));
    expect(refused).toMatchObject({ kind: "refused", code: "invalid_grant" });
  });

  test("HTML is not read as anything", async () => {
    server.behave(
      (_, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<p>Hi"),
    );
    const html = await failure(askAs({ responseQuirks: ["form_encoded_answer"] }));
    expect(html).toMatchObject({
      kind: "unusable",
      message: expect.stringContaining("text/html instead of JSON"),
    });
  });

  test("a redirect is not followed", async () => {
    server.behave(
      (_, response) => void response.writeHead(307, { location: `${server.url}/elsewhere` }).end(),
    );
    expect(await failure(askAs())).toMatchObject({
      kind: "unusable",
      message: expect.stringContaining("307"),
    });
    expect(server.asked.at(-1)!.path).toBe("/token");
  });

  test("of gigabytes, one megabyte is read", async () => {
    let written = 0;
    server.behave((_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const piece = Buffer.alloc(64 * 1024, " ");
      const more = () => {
        while (!response.destroyed && written < gigabyte) {
          written += piece.length;
          if (!response.write(piece)) return void response.once("drain", more);
        }
      };
      more();
    });
    expect(await failure(askAs())).toMatchObject({
      kind: "unusable",
      message: expect.stringContaining("1 MiB"),
    });
    expect(written).toBeLessThan(gigabyte / 10);
  });

  test("an answer that does not come is a timeout, as the request may have had its effect", async () => {
    server.behave(() => undefined);
    expect(await failure(askAs())).toMatchObject({ kind: "timeout" });
  });

  test("a connection that breaks behind the request leaves it in doubt too", async () => {
    server.behave((_, response) => void response.destroy());
    expect(await failure(askAs())).toMatchObject({ kind: "broken" });
  });

  test("what was never sent had no effect", async () => {
    const gone = askAs({ tokenUrl: "http://127.0.0.1:9/token" });
    expect(await failure(gone)).toMatchObject({ kind: "unavailable" });
    const denied = askAs({ tokenUrl: "http://169.254.169.254/token" });
    expect(await failure(denied)).toMatchObject({ kind: "unavailable" });
  });

  test("when to ask again is passed on", async () => {
    server.behave((_, response) => {
      response.setHeader("retry-after", "17");
      answerJson(response, 503, {});
    });
    expect(await failure(askAs())).toMatchObject({ retryAfterSeconds: 17 });
  });
});

test("what the server repeats of the request is not in the error", async () => {
  server.behave(({ form }, response) =>
    answerJson(response, 400, {
      error: "invalid_grant",
      error_description: `no: ${form.get("refresh_token")} of ${form.get("client_secret")}\n<b> ${form.toString()}`,
    }),
  );
  const { message } = await failure(askAs({ clientAuthentication: "post" }));
  expect(message).toContain("invalid_grant");
  expect(message).not.toMatch(/the-spent-token|s3cret|\n/);
  expect(message.length).toBeLessThan(500);
});
