import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { startEvents, type TestEvents } from "./support.ts";

let events: TestEvents;
beforeAll(async () => {
  events = await startEvents();
});
afterAll(() => events[Symbol.asyncDispose]());

const dayMs = 24 * 60 * 60 * 1000;
const texts = (count: number) => Array.from({ length: count }, (_, i) => ({ data: Buffer.from(`"${i}"`) }));

async function keyWith(scopes: string[], more: object = {}) {
  const { secret } = await events.service.org.client.apiKeys.createApiKey({
    name: "reader",
    scopes,
    ...more,
  });
  return events.service.as(secret);
}

describe("a list of events", () => {
  test("goes on page by page until every event was there once, in order", async () => {
    const { client } = events.service.org;
    const log = await events.newChannel();
    await events.send(log, ...texts(25));
    const seen: bigint[] = [];
    let pageToken = "";
    do {
      const page = await client.events.listEvents({ log, pageSize: 10, pageToken });
      seen.push(...page.events.map(({ seq }) => seq));
      pageToken = page.nextPageToken ?? "";
      expect(page.events.every(({ data, dataBytes }) => data === undefined && dataBytes > 0)).toBe(true);
    } while (pageToken !== "");
    expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => BigInt(i + 1)));
    const after = await client.events.listEvents({ log, after: 23n, withData: true });
    expect(after.events.map(({ data }) => Buffer.from(data ?? []).toString())).toEqual(['"23"', '"24"']);
    expect(after).toMatchObject({ position: 25n });
    expect(await client.events.listEvents({ log, after: 25n })).toMatchObject({ events: [], position: 25n });
  });

  test("with a filter misses none that it selects, however rare they are and however small the page is", async () => {
    const { client } = events.service.org;
    const log = await events.newChannel();
    const types = Array.from({ length: 60 }, (_, i) => (i % 7 === 0 ? "order.paid" : "order.seen"));
    await events.send(log, ...types.map((type) => ({ type })));
    const seen: bigint[] = [];
    let pageToken = "";
    do {
      const wanted = { log, types: [`channel:${log}/order.p*`], pageSize: 2, pageToken };
      const page = await client.events.listEvents(wanted);
      seen.push(...page.events.map(({ seq }) => seq));
      pageToken = page.nextPageToken ?? "";
    } while (pageToken !== "");
    expect(seen).toEqual(types.flatMap((type, i) => (type === "order.paid" ? [BigInt(i + 1)] : [])));
  });

  test("shows records of the audit log under the type that selects them", async () => {
    const { client, apiKeyId } = events.service.org;
    const { apiKey } = await client.apiKeys.createApiKey({ name: "short-lived", scopes: ["other:view"] });
    await client.apiKeys.revokeApiKey({ id: apiKey!.id });
    const typesOf = async (...types: string[]) => {
      const { events: found } = await client.events.listEvents({ log: "audit", types, pageSize: 1000 });
      return found.filter(({ subject }) => subject === apiKey!.id).map(({ type }) => type);
    };
    expect(apiKeyId).not.toBe(apiKey!.id);
    expect(await typesOf()).toEqual(["audit.api_key.create", "api_key.revoked"]);
    expect(await typesOf("audit.*")).toEqual(["audit.api_key.create", "audit.api_key.revoke"]);
    expect(await typesOf("api_key.revoked", "audit.api_key.revoke")).toEqual(["api_key.revoked"]);
  });

  test.each([
    [
      "of the future",
      { after: 9n },
      Code.OutOfRange,
      "CURSOR_AHEAD",
      /^the last event of chn_\w+ is number 2;/,
    ],
    [
      "of what is no position",
      { pageToken: "bm90aGluZw" },
      Code.InvalidArgument,
      "INVALID_REQUEST",
      /^pageToken:/,
    ],
    [
      "behind a type of no log asked for",
      { types: ["order.*"] },
      Code.InvalidArgument,
      "INVALID_REQUEST",
      /"order\.\*" selects nothing .* such as channel:chn_\w+\/order\.\*$/,
    ],
    [
      "of another log's type",
      { types: ["channel:chn_other/*"] },
      Code.InvalidArgument,
      "INVALID_REQUEST",
      /ask for the log that it is of/,
    ],
  ])("%s is refused in words that say what to do", async (_, wanted, code, reason, message) => {
    const log = await events.newChannel();
    await events.send(log, ...texts(2));
    const error = await events.service.org.client.events
      .listEvents({ log, ...wanted })
      .catch((e: unknown) => e);
    expect(error).toMatchObject({ code, rawMessage: expect.stringMatching(message) as unknown });
    expect(reasonOf(error)).toBe(reason);
  });

  test("refuses the page token of another log by its name", async () => {
    const { client } = events.service.org;
    const [one, two] = [await events.newChannel(), await events.newChannel()];
    await events.send(one, ...texts(3));
    const { nextPageToken: pageToken = "" } = await client.events.listEvents({ log: one, pageSize: 1 });
    const error = await client.events.listEvents({ log: two, pageToken }).catch((e: unknown) => e);
    expect(reasonOf(error)).toBe("CURSOR_OF_OTHER_LOG");
    expect(error).toMatchObject({ rawMessage: expect.stringContaining(one) as unknown });
  });
});

describe("one event", () => {
  test("has its data byte for byte, whatever the bytes are, and nothing of it acts as a page", async () => {
    const { org, url } = events.service;
    const log = await events.newChannel();
    const data = Buffer.from([0xff, 0, 0x3c, 0x0d, 0x0a]);
    await events.send(log, { data, contentType: "text/html" }, { data: undefined });
    const { event } = await org.client.events.getEvent({ log, seq: 1n });
    expect(Buffer.from(event?.data ?? [])).toEqual(data);
    const headers = { authorization: `Bearer ${org.secret}` };
    const reply = await fetch(`${url}/api/events/${log}/1/body`, { headers });
    expect(Buffer.from(await reply.arrayBuffer())).toEqual(data);
    expect(reply.headers.get("content-type")).toBe("text/html");
    expect(reply.headers.get("content-security-policy")).toBe("sandbox");
    expect(reply.headers.get("content-disposition")).toBe("attachment");
    const empty = await fetch(`${url}/api/events/${log}/2/body`, { headers });
    expect([empty.status, (await empty.arrayBuffer()).byteLength]).toEqual([204, 0]);
    const beyond = await org.rest("GET", `/api/events/${log}/3/body`);
    expect([beyond.status, beyond.headers.get("x-error-reason")]).toEqual([404, "NOT_FOUND"]);
  });
});

describe("what a caller may not read", () => {
  test("a channel of another organisation looks like one that does not exist", async () => {
    const log = await events.newChannel();
    await events.send(log, ...texts(1));
    const globex = await events.service.newOrganization("globex");
    for (const path of [`?log=${log}`, `/${log}/1`, `/${log}/1/body`, `/stream?log=${log}`]) {
      const theirs = await globex.rest("GET", `/api/events${path}`);
      const missing = await globex.rest("GET", `/api/events${path.replace(log, "chn_missing")}`);
      expect(theirs).toMatchObject({ status: 404, body: missing.body as object });
      expect(theirs.headers.get("x-error-reason")).toBe("LOG_NOT_FOUND");
    }
  });

  test("the record of changes takes audit:view as well", async () => {
    const reader = await keyWith(["events:view"]);
    for (const path of ["?log=audit", "/audit/1", "/audit/1/body", "/stream?log=audit"]) {
      const refused = await reader.rest("GET", `/api/events${path}`);
      expect(refused).toMatchObject({ status: 403, body: { error: "missing scope: audit:view" } });
    }
    const auditor = await keyWith(["events:view", "audit:view"]);
    expect((await auditor.rest("GET", "/api/events/audit/1")).status).toBe(200);
  });

  test("of the service's own events, a key sees those whose scope it has, and may not ask for others by name", async () => {
    const { postgres, org } = events.service;
    const own = ["connection.unhealthy", "api_key.expiring", "channel.gap", "webhook.paused"];
    for (const type of own) {
      await postgres.asOwner(
        `select append_own_event('${org.orgId}', '${type}', 'some_id', '{"a":1}', now())`,
      );
    }
    const seenBy = async (...scopes: string[]) => {
      const { client } = await keyWith(["events:view", ...scopes]);
      const { events: seen } = await client.events.listEvents({ log: "service" });
      return seen.map(({ type }) => type);
    };
    expect(await seenBy()).toEqual(["channel.gap"]);
    expect(await seenBy("connections:view")).toEqual(["connection.unhealthy", "channel.gap"]);
    expect(await seenBy("connections:view", "api:manage", "webhooks:manage")).toEqual(own);
    const narrow = await keyWith(["events:view"]);
    const asking = narrow.client.events.listEvents({ log: "service", types: ["api_key.*"] });
    await expect(asking).rejects.toMatchObject({ rawMessage: "missing scope: api:manage" });
    expect((await narrow.rest("GET", "/api/events/service/1")).status).toBe(404);
    // No family of types, though every object has something of this name.
    const { events: none } = await narrow.client.events.listEvents({
      log: "service",
      types: ["constructor.*"],
    });
    expect(none).toEqual([]);
  });

  test("a key that is limited to connections sees events about others as little as in the list of changes", async () => {
    const { client } = events.service.org;
    const connect = (slug: string) =>
      client.connections.upsertServiceConnection({
        serviceSlug: `custom:${slug}`,
        baseUrl: "http://127.0.0.1:9",
        apiKey: "k",
      });
    const [mine, theirs] = [await connect("mine"), await connect("theirs")];
    const ids = [mine, theirs].map(({ connection }) => connection!.id);
    const limited = await keyWith(["events:view", "audit:view"], {
      connections: { rights: [{ connection: { case: "id", value: ids[0] ?? "" } }] },
    });
    const { events: seen } = await limited.client.events.listEvents({ log: "audit", pageSize: 1000 });
    const subjects = seen.map(({ subject }) => subject);
    expect(subjects).toContain(ids[0]);
    expect(subjects).not.toContain(ids[1]);
    const { events: all } = await client.events.listEvents({ log: "audit", pageSize: 1000 });
    const hidden = all.find(({ subject }) => subject === ids[1]);
    const asking = limited.client.events.getEvent({ log: "audit", seq: hidden!.seq });
    await expect(asking).rejects.toMatchObject({ code: Code.NotFound });
  });
});

test("a channel that reads through a connection is there only for keys that may know of the connection", async () => {
  const { client } = events.service.org;
  const connect = async (slug: string) => {
    const wanted = { serviceSlug: `custom:${slug}`, baseUrl: "http://127.0.0.1:9", apiKey: "k" };
    return (await client.connections.upsertServiceConnection(wanted)).connection?.id ?? "";
  };
  const [seen, hidden] = [await connect("seen"), await connect("hidden")];
  const log = await events.newChannel();
  await events.send(log, ...texts(1));
  const limitedTo = (id: string) => ({
    connections: { rights: [{ connection: { case: "id", value: id } as const }] },
  });
  const readThrough = (id: string) =>
    events.service.postgres.asOwner(`update channels set connection_id = '${id}' where id = '${log}'`);
  const limited = await keyWith(["events:view"], limitedTo(seen));
  for (const [id, status] of [
    [seen, 200],
    [hidden, 404],
  ] as const) {
    await readThrough(id);
    expect((await limited.rest("GET", `/api/events?log=${log}`)).status).toBe(status);
    expect((await limited.rest("GET", `/api/events/${log}/1`)).status).toBe(status);
    expect((await events.service.org.rest("GET", `/api/events?log=${log}`)).status).toBe(200);
  }
});

test("a position behind the retention names the first number that is kept", async () => {
  const { client } = events.service.org;
  const log = await events.newChannel();
  await events.send(log, ...texts(3));
  events.service.clock.advance(9 * dayMs);
  await events.service.app.loops.logs.runOnce();
  await events.send(log, ...texts(1));
  const error = await client.events.listEvents({ log, after: 1n }).catch((e: unknown) => e);
  expect(reasonOf(error)).toBe("CURSOR_EXPIRED");
  const { events: kept } = await client.events.listEvents({ log });
  expect(kept.map(({ seq }) => seq)).toEqual([4n]);
});
