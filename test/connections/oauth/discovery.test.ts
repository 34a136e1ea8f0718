import { expect, test } from "vitest";
import { createDiscover } from "#src/connections/oauth/discovery.ts";
import type { Exchange } from "#src/connections/oauth/fetch.ts";
import { oauth2 } from "../../support/oauth-grants.ts";

const issuer = "https://as.example";
const method = oauth2({ issuer, discover: true });

/** What a service says of itself, and how often it was asked. */
function discovering(metadata: object) {
  let asked = 0;
  let at = 0;
  const exchange: Exchange = () => {
    asked += 1;
    const body = Buffer.from(JSON.stringify({ issuer, ...metadata }));
    return Promise.resolve({ status: 200, headers: {}, trailers: {}, body, latencyMs: 1 });
  };
  const discover = createDiscover(exchange, () => at);
  return { discover: () => discover("org_a", method), asked: () => asked, later: (ms: number) => (at += ms) };
}

test("what a service says of its endpoints is asked once an hour", async () => {
  const { discover, asked, later } = discovering({ token_endpoint: `${issuer}/token` });
  for (const hour of [1, 2]) {
    await discover();
    expect(await discover()).toMatchObject({ tokenUrl: `${issuer}/token`, namesItself: false });
    expect(asked()).toBe(hour);
    later(3_600_000);
  }
});

test("an endpoint that is no URL of this service's protection, or too long to be one, is none", async () => {
  await expect(discovering({ token_endpoint: "http://as.example/token" }).discover()).rejects.toThrow(
    "as.example names no https URL as token_endpoint",
  );
  const long = `${issuer}/${"x".repeat(4_000)}`;
  expect(await discovering({ token_endpoint: long }).discover()).not.toHaveProperty("tokenUrl");
});
