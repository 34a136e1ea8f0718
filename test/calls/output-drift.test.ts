import { pino } from "pino";
import { expect, test } from "vitest";
import { createDatabase } from "#src/db/database.ts";
import { forgetDrift, recordDrift } from "#src/operations/drift-store.ts";
import { storeImport } from "../support/imports.ts";
import { define } from "../support/integrations.ts";
import { startService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

const outputSchema = {
  type: "object",
  required: ["id"],
  properties: { id: { type: "integer" }, tags: { additionalProperties: { type: "string" } } },
  additionalProperties: false,
};

test("answers that do not fit their operation are counted, and no value of them is kept", async () => {
  await using service = await startService();
  await using upstream = await startUpstream();
  const wanted = { serviceSlug: "custom:shop", baseUrl: upstream.url, apiKey: "k" };
  await service.org.client.connections.upsertServiceConnection(wanted);
  const order = { method: "GET", path: "/orders/{id}", outputSchema };
  const odd = { method: "GET", path: "/odd", outputSchema: { required: ["a\0b\ud800"] } };
  await storeImport(service.postgres, {
    ...{ orgId: service.org.orgId, slug: "custom:shop" },
    operations: [order, odd, { method: "GET", path: "/free" }],
  });

  const json = { "content-type": "application/json; charset=utf-8" };
  const answers: { path?: string; status?: number; body: string; headers?: Record<string, string> }[] = [
    { body: '{"id":1}' },
    { body: '{"id":"secret-1"}' },
    { body: '{"id":1,"secret-2":true}' },
    { body: "{}" },
    { body: "secret-3" },
    { body: '{"id":1,"tags":{"secret-4":7}}' },
    { body: "{}", path: "/odd" },
    // What is no success, no JSON, or not described is not compared.
    { body: "{}", status: 404 },
    { body: "{}", status: 202 },
    { body: "{}", headers: { "content-type": "text/plain" } },
    { body: "{}", path: "/free" },
    { body: "" },
  ];
  for (const { path = "/orders/1", status = 200, body, headers = json } of answers) {
    upstream.answer({ status, headers, body });
    const [, first, id] = path.split("/");
    const template = id === undefined ? path : `/${first}/{id}`;
    const input = id === undefined ? {} : { path: { id } };
    const reply = await service.org.rest("POST", "/api/actions/call", {
      ...{ actionIdentifier: `custom:shop/GET ${template}`, input },
    });
    expect([reply.status, reply.body.data.status]).toStrictEqual([200, status]);
  }
  await service.app.close(1_000);

  const rows = await service.postgres.asOwner("select * from operation_drift order by path");
  expect(rows).toMatchObject([
    { slug: "custom:shop", path: "/odd", method: "GET", checked: "1", last_problem: "lacks ab\ufffd" },
    { slug: "custom:shop", path: "/orders/{id}", method: "GET", checked: "6", unfit: "5" },
  ]);
  expect(rows[1]).toMatchObject({ last_problem: "/tags/* must be string" });
  expect(JSON.stringify(rows)).not.toContain("secret");
});

test("what was counted is forgotten with the import that it was compared with, and what comes late is not counted", async () => {
  await using service = await startService();
  const database = createDatabase({ url: service.postgres.url, log: pino({ level: "silent" }) });
  const slug = "custom:shop";
  await define(service, slug, {});
  const { orgId } = service.org;
  for (const revision of [1, 2])
    await storeImport(service.postgres, { orgId, slug, revision, operations: [] });
  const note = (revision: number) => {
    const noted = { slug, path: "/x", method: "GET", checked: 2, unfit: 1, lastUnfitAt: new Date(0) };
    return database.record(service.org.orgId, (tx) =>
      recordDrift(tx, service.org.orgId, [{ ...noted, revision, lastProblem: "/id must be integer" }]),
    );
  };
  const counted = () => service.postgres.asOwner("select checked::int, unfit::int from operation_drift");

  await note(2);
  await note(2);
  expect(await counted()).toEqual([{ checked: 4, unfit: 2 }]);
  const path = `/api/integrations/${slug}/revisions/1/activate`;
  expect(await service.org.rest("POST", path, {})).toMatchObject({ status: 200 });
  expect(await counted()).toEqual([]);
  await note(2);
  expect(await counted()).toEqual([]);
  await note(1);
  expect(await counted()).toEqual([{ checked: 2, unfit: 1 }]);
  // What comes while another import is put in force waits until it is known which one it is.
  let late: Promise<unknown> = Promise.resolve();
  await database.record(service.org.orgId, async (tx) => {
    await tx.execute("update catalogs set revision = 2");
    await forgetDrift(tx, service.org.orgId, slug);
    const noted: true[] = [];
    late = note(1).then(() => noted.push(true));
    const waiting = () => service.postgres.asOwner("select from pg_locks where not granted");
    while (noted.length + (await waiting()).length === 0);
  });
  await late;
  expect(await counted()).toEqual([]);
  await database.close();
});
