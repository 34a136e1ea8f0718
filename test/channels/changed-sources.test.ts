import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  list,
  parameterOf,
  readLater,
  startSourceServices,
  type SourceServices,
} from "../support/sources.ts";
import { startUpstream } from "../support/upstream.ts";

let services: SourceServices;
beforeAll(async () => {
  services = await startSourceServices();
});
afterAll(() => services[Symbol.asyncDispose]());

describe("a changed channel", () => {
  const config = { order: "ascending", cursor: "/id", query: [{ name: "after", value: "{cursor}" }] };
  const patch = (id: string, change: unknown, by = services.one.org) =>
    by.rest("PATCH", `/api/event-channels/${id}`, change);

  test("is read at once as it is described now, and keeps its cursor", async () => {
    await using upstream = await startUpstream();
    upstream.answer((asked) => list(...[1, 2, 3].filter((id) => id > Number(parameterOf(asked, "after")))));
    const id = await services.poll(upstream.url, { ...config, start: "all" });
    await readLater(services.one, 0);
    const { connection } = (await services.channel(id))["poll"];
    const changed = await patch(id, { poll: { ...config, connection, path: "/v2", intervalSeconds: 600 } });
    expect(changed.body.data.channel).toMatchObject({
      poll: { path: "/v2", start: "now" },
      sourceState: { cursor: "3" },
    });
    upstream.answer((asked) => list(...[3, 4].filter((id) => id > Number(parameterOf(asked, "after")))));
    await readLater(services.one, 0);
    expect(upstream.asked.some(({ url }) => url === "/v2?after=3")).toBe(true);
    expect(await services.idsOf(id)).toStrictEqual(["1", "2", "3", "4"]);
    expect(await services.gapsOf(id)).toStrictEqual([]);
    const { events } = await services.one.org.client.audit.listAuditEvents({});
    expect(events.some(({ action, target }) => action === "channel.update" && target === id)).toBe(true);
  });

  test("is not read as it was while the change is still being made", async () => {
    await using upstream = await startUpstream();
    upstream.answer(list(1));
    const id = await services.poll(upstream.url, { path: "/old" });
    const { asOwner } = services.one.postgres;
    await asOwner("begin");
    await asOwner("update channels set config = replace(config::text, '/old', '/new')::json where id = $1", [
      id,
    ]);
    await readLater(services.one, 0);
    expect(upstream.asked).toStrictEqual([]);
    await asOwner("commit");
    await readLater(services.one, 0);
    expect(upstream.asked.map(({ url }) => url)).toStrictEqual(["/new"]);
  });

  test("forgets the page that it would have read next, which is one of another list", async () => {
    await using upstream = await startUpstream();
    upstream.answer((asked) => (parameterOf(asked, "page") === null ? paged : { status: 500 }));
    const paged = { ...list(1), headers: { link: "</old?page=2>; rel=next" } };
    const id = await services.poll(upstream.url, { path: "/old", order: "ascending", nextByLink: true });
    await readLater(services.one, 0);
    const { connection } = (await services.channel(id))["poll"];
    await patch(id, { poll: { connection, path: "/new" } });
    await readLater(services.one, 0);
    expect(upstream.asked.map(({ url }) => url)).toStrictEqual(["/old", "/old?page=2", "/new"]);
  });

  test("reads through another connection, once it is resumed after the old one was gone", async () => {
    await using upstream = await startUpstream();
    upstream.answer(list(1));
    const [id, other] = [
      await services.poll(upstream.url, { start: "all" }),
      await services.poll(upstream.url, { path: "/other" }),
    ];
    const [gone, kept] = [await services.channel(id), await services.channel(other)].map(
      ({ poll }) => poll.connection,
    );
    await services.one.org.client.connections.deleteConnection({ id: gone });
    await readLater(services.one, 0);
    expect(await services.channel(id)).toMatchObject({ state: "blocked" });
    await patch(id, { poll: { connection: kept, start: "all" } });
    await services.one.org.rest("POST", `/api/event-channels/${id}/resume`, {});
    await readLater(services.one, 0);
    expect(await services.channel(id)).toMatchObject({ state: "active", poll: { connection: kept } });
    expect(await services.idsOf(id)).toStrictEqual(["1"]);
  });

  test("is read at once when it is resumed, however long it would have been left alone, and not while it is paused", async () => {
    await using upstream = await startUpstream();
    upstream.answer({ status: 503, headers: { "retry-after": "3600" } });
    const id = await services.poll(upstream.url, { start: "all" });
    await readLater(services.one, 0);
    upstream.answer(list(1));
    await services.one.org.rest("POST", `/api/event-channels/${id}/pause`, {});
    await readLater(services.one, 4_000);
    expect(upstream.asked).toHaveLength(1);
    await services.one.org.rest("POST", `/api/event-channels/${id}/resume`, {});
    await readLater(services.one, 0);
    expect(await services.idsOf(id)).toStrictEqual(["1"]);
  });

  test("does not become one of another kind, nor one that its owner may not use", async () => {
    await using upstream = await startUpstream();
    const id = await services.poll(upstream.url);
    const { connection } = (await services.channel(id))["poll"];
    expect(await patch(id, { sse: { connection } })).toMatchObject({
      status: 400,
      body: { error: "sse: the channel is of kind poll; leave it out" },
    });
    expect(await patch(id, { poll: { connection: "custom:none" } })).toMatchObject({ status: 404 });
    const { secret } = await services.one.org.client.apiKeys.createApiKey({
      ...{ name: "writer", scopes: ["channels:write"] },
    });
    expect(
      await patch(id, { poll: { connection } }, { ...services.one.org, ...services.one.as(secret) }),
    ).toMatchObject({
      status: 403,
      body: { error: "missing scope: connections:use" },
    });
    expect((await services.channel(id))["poll"]).toMatchObject({ connection });
  });
});
