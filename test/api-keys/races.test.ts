import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { getKey, listKeys } from "#src/api-keys/store.ts";
import { reasonOf } from "#src/client/node.ts";
import { openConnection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { untilOneWaits } from "../support/locks.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

test("a key and its secrets are read as of one moment, alone and in the list", async () => {
  const { postgres, org } = service;
  const viewer = { orgId: org.orgId, environment: "sandbox", userId: undefined } as const;
  const database = createDatabase({ url: postgres.url, log: pino({ level: "silent" }), poolSize: 1 });
  await using holder = openConnection(postgres.url, {});
  const { apiKey } = await org.client.apiKeys.createApiKey({ name: "before", scopes: ["connections:view"] });
  await postgres.asOwner("update api_key_secrets set hint = 'before' where key_id = $1", [apiKey!.id]);

  const reads = [
    () => database.read(org.orgId, (tx) => getKey(tx, viewer, apiKey!.id)),
    () =>
      database
        .read(org.orgId, (tx) => listKeys(tx, viewer, { after: "", limit: 10 }))
        .then((keys) => keys.find(({ id }) => id === apiKey!.id)),
  ];
  for (const [round, read] of reads.entries()) {
    // Lets the read see the key and then waits before its secrets, while both are changed.
    await holder.run("begin");
    await holder.run("lock table api_key_secrets in access exclusive mode");
    const reading = read();
    await untilOneWaits(postgres);
    await holder.run("update api_keys set name = $2 where id = $1", [apiKey!.id, `after ${round}`]);
    await holder.run("update api_key_secrets set hint = $2 where key_id = $1", [
      apiKey!.id,
      `after ${round}`,
    ]);
    await holder.run("commit");
    const key = await reading;
    expect(key!.secrets.map(({ hint }) => hint)).toStrictEqual([key!.name]);
  }
  await database.close();
});

test("a key is not bound to a user who is deactivated meanwhile", async () => {
  const { postgres, org } = service;
  const { user } = await org.client.directory.upsertUser({ email: "ada@example.com" });
  await using holder = openConnection(postgres.url, {});
  await holder.run("begin");
  await holder.run("update users set status = 'deactivated' where id = $1", [user!.id]);
  const issuing = org.client.apiKeys
    .createApiKey({ name: "job", scopes: ["connections:view"], actAsUserId: user!.id })
    .then(() => "issued", reasonOf);
  await untilOneWaits(postgres);
  await holder.run("commit");
  expect(await issuing).toBe("UNKNOWN_USER");
});
