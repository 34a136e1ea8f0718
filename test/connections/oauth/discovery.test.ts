import { expect, test } from "vitest";
import { createDiscover } from "#src/connections/oauth/discovery.ts";
import { oauth2 } from "../../support/oauth-grants.ts";

const issuer = "https://id.example";

/** What is known of a service that says this of itself. */
function discovered(metadata: object) {
  const body = Buffer.from(JSON.stringify({ issuer, ...metadata }));
  const exchange = () => Promise.resolve({ status: 200, headers: {}, body, latencyMs: 1 });
  const { authorizationUrl: _, tokenUrl: __, ...method } = oauth2({});
  return createDiscover(exchange, () => 0)("org_1", { ...method, issuer, discover: true });
}

test("a service names its endpoints, and whether it names itself", async () => {
  const tokenUrl = `${issuer}/token`;
  const said = { token_endpoint: tokenUrl, authorization_response_iss_parameter_supported: true };
  await expect(discovered(said)).resolves.toMatchObject({
    tokenUrl,
    saysItself: [tokenUrl],
    namesItself: true,
  });
});

test("an endpoint that no URL is as long as is not remembered", async () => {
  const long = `${issuer}/${"a".repeat(2_048)}`;
  expect((await discovered({ token_endpoint: long })).tokenUrl).toBeUndefined();
});
