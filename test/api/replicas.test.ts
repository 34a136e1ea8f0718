import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createTestDatabase } from "../support/postgres.ts";
import { startService } from "../support/service.ts";

test("a key that is revoked at one replica is refused by the next request at another", async () => {
  await using postgres = await createTestDatabase();
  const shared = { postgres, rootKey: randomBytes(32).toString("base64") };
  await using one = await startService(shared);
  await using other = await startService(shared);
  const { apiKey, secret } = await one.org.client.apiKeys.createApiKey({ name: "job", scopes: ["read"] });
  expect((await other.as(secret).rest("GET", "/api/auth/me")).status).toBe(200);
  await one.org.client.apiKeys.revokeApiKey({ id: apiKey!.id });
  expect((await other.as(secret).rest("GET", "/api/auth/me")).status).toBe(401);
});
