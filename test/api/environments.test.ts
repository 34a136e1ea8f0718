import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type Presenter } from "../support/service.ts";

const opened = new AsyncDisposableStack();
afterAll(() => opened.disposeAsync());

/** One organisation, by a key of each environment, at deployments that share its database. */
let sandbox: Presenter;
let live: Presenter;
beforeAll(async () => {
  const postgres = opened.use(await createTestDatabase());
  const rootKey = Buffer.alloc(32, 3).toString("base64");
  const ofSandbox = opened.use(await startService({ postgres, rootKey }));
  const ofLive = opened.use(await startService({ postgres, rootKey, environment: "live" }));
  const { orgId, apiKeyId } = ofSandbox.org;
  await postgres.asOwner(
    `insert into api_keys select $1, id, name, environment, scopes, null, created_at from api_keys where org_id = $2`,
    [ofLive.org.orgId, orgId],
  );
  const secrets = "update api_key_secrets set org_id = $1 where key_id = $2";
  await postgres.asOwner(secrets, [ofLive.org.orgId, apiKeyId]);
  sandbox = ofSandbox.org;
  live = ofLive.org;
});

test("connections belong to the environment that they were registered in", async () => {
  const wanted = { serviceSlug: "custom:bank", baseUrl: "https://bank.example", apiKey: "k" };
  const { body } = await live.rest("POST", "/api/service-connections", wanted);
  const { id } = body.data.connection as { id: string };
  expect((await live.rest("GET", `/api/service-connections/${id}`)).status).toBe(200);

  const { connections } = (await sandbox.rest("GET", "/api/service-connections")).body.data;
  expect(connections).toStrictEqual([]);
  for (const method of ["GET", "DELETE"]) {
    expect((await sandbox.rest(method, `/api/service-connections/${id}`)).status).toBe(404);
  }
  const call = { service: "custom:bank", method: "GET", path: "/" };
  expect((await sandbox.rest("POST", "/api/service-calls", call)).status).toBe(404);
  // The slug is free there, for a connection of its own.
  const again = await sandbox.rest("POST", "/api/service-connections", wanted);
  expect(again.body.data).toMatchObject({ created: true });
  expect(again.body.data.connection.id).not.toBe(id);
});

test("users belong to the organisation in both environments", async () => {
  const { body } = await live.rest("POST", "/api/users", { email: "mlro@example.com" });
  const { user } = body.data;
  expect((await sandbox.rest("GET", `/api/users/${user.id}`)).body.data.user).toStrictEqual(user);
});
