import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  startSourceServices,
  startStreamServer,
  type SourceServices,
  readLater,
} from "../support/sources.ts";

let services: SourceServices;
beforeAll(async () => {
  services = await startSourceServices();
});
afterAll(() => services[Symbol.asyncDispose]());

const patience = { timeout: 15_000, interval: 20 };

async function untilStored(channelId: string, ids: readonly string[]) {
  await vi.waitFor(
    async () => expect((await services.eventsOf(channelId)).map(({ id }) => id)).toStrictEqual(ids),
    patience,
  );
}

async function untilGivenBack(channelId: string) {
  await vi.waitFor(
    async () => expect((await services.channel(channelId))["sourceState"].isBeingRead).toBe(false),
    patience,
  );
  return await services.channel(channelId);
}

const later = (seconds: number, service = services.one) => readLater(service, seconds);

describe("an event stream", () => {
  test("is read with the connection's credential, and its events are stored as they came", async () => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url, { path: "/feed", query: [{ name: "of", value: "a b" }] });
    await later(0);
    const { url, headers, response } = await server.stream(0);
    expect(url).toBe("/feed?of=a%20b");
    expect(headers).toMatchObject({ accept: "text/event-stream", authorization: "Bearer key-of-the-source" });
    expect(headers["last-event-id"]).toBeUndefined();
    response.write(
      Buffer.from(`id: 1\nevent: price\ndata: {"eur":1.10}\n\nid: 2\ndata: \u00e9\n\n`, "latin1"),
    );
    await untilStored(id, ["1", "2"]);
    const [first, second] = await services.eventsOf(id);
    expect(first).toMatchObject({
      ...{ type: "price", contentType: "application/json", source: `${server.url}/feed` },
      ...{ verified: "connection", data: Buffer.from('{"eur":1.10}') },
    });
    expect(second).toMatchObject({ type: "message", data: Buffer.from([0xe9]) });
    expect(await services.gapsOf(id)).toStrictEqual([]);
  });

  test("goes on behind its last id after a cut, and what comes again is not stored again", async () => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url);
    await later(0);
    (await server.stream(0)).response.end("retry: 2000\nid: a\ndata: 1\n\nid: b\ndata: 2\n\nid: c\n\n");
    await untilStored(id, ["a", "b"]);
    await untilGivenBack(id);
    await later(1);
    expect(server.opened).toHaveLength(1);
    await later(1);
    const again = await server.stream(1);
    expect(again.headers["last-event-id"]).toBe("c");
    again.response.write("id: b\ndata: 2\n\nid: d\ndata: 4\n\n");
    await untilStored(id, ["a", "b", "d"]);
    expect(await services.gapsOf(id)).toStrictEqual([]);
  });

  test("that counts from 1 again loses nothing: the same id with other data is another event", async () => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url);
    await later(0);
    (await server.stream(0)).response.write(
      "id: 1\ndata: before\n\nid: 1\ndata: after\n\nid: 1\ndata: after\n\n",
    );
    await untilStored(id, ["1", "1"]);
  });

  test.each([
    ["gives no ids", "data: 1\n\n", undefined, "NO_POSITION"],
    ["does not know the id any more", "id: 7\ndata: 1\n\n", 410, "POSITION_REFUSED"],
  ])("that %s says after a cut what may be missed", async (_, text, refusal, why) => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url);
    await later(0);
    (await server.stream(0)).response.end(text);
    await untilGivenBack(id);
    server.answer(refusal);
    await later(4);
    if (refusal !== undefined) {
      await server.stream(1);
      server.answer(undefined);
    }
    await vi.waitFor(
      async () => expect(await services.gapsOf(id)).toMatchObject([{ channel: id, why }]),
      patience,
    );
    const last = server.opened.at(-1);
    expect(last?.headers["last-event-id"]).toBeUndefined();
    last?.response.write("id: 8\ndata: 2\n\n");
    await vi.waitFor(async () => expect(await services.eventsOf(id)).toHaveLength(2), patience);
  });

  test("says that it left out an event that is too long, and goes on behind it", async () => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url);
    await later(0);
    const { response } = await server.stream(0);
    response.write(`id: 1\ndata: a\n\nid: 2\ndata: ${"x".repeat(1024 * 1024 + 1)}\n\nid: 3\ndata: c\n\n`);
    await untilStored(id, ["1", "3"]);
    expect(await services.gapsOf(id)).toMatchObject([{ why: "EVENT_TOO_LARGE", from: "2" }]);
  });

  test("that shows the credential it is read with is opened again later and later, and says why", async () => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url);
    await later(0);
    const { response } = await server.stream(0);
    response.write("id: 1\ndata: a\n\n");
    await untilStored(id, ["1"]);
    response.write("id: 2\ndata: you are key-of-the-source\n\n");
    const { sourceState } = await untilGivenBack(id);
    expect(sourceState).toMatchObject({
      cursor: "1",
      failures: 1,
      lastError: expect.stringMatching(/credential/),
    });
    await untilStored(id, ["1"]);
  });

  test("is over when the server answers 204, until a person resumes the channel", async () => {
    await using server = await startStreamServer();
    server.answer(204);
    const id = await services.stream(server.url);
    await later(0);
    const channel = await untilGivenBack(id);
    expect(channel).toMatchObject({ state: "blocked", stateReason: expect.stringMatching(/204/) });
    const told = await services.eventsOf("service");
    expect(told.some(({ type, subject }) => type === "channel.blocked" && subject === id)).toBe(true);
    await later(3_600);
    expect(server.opened).toHaveLength(1);
  });

  test("is blocked when the service does not take the credential", async () => {
    await using server = await startStreamServer();
    server.answer(401);
    const id = await services.stream(server.url);
    await later(0);
    expect(await untilGivenBack(id)).toMatchObject({
      state: "blocked",
      stateReason: expect.stringMatching(/401/),
    });
  });

  test.each([
    ["an error", 500, {}, "answered 500"],
    ["a redirect", 307, { location: "http://127.0.0.1:9/" }, "redirects are not followed"],
    ["something else", 200, { "content-type": "application/json" }, "not of the type text/event-stream"],
  ])("that answers %s is opened again later and later, and says why", async (_, status, headers, words) => {
    await using server = await startStreamServer();
    server.answer(status, headers);
    const id = await services.stream(server.url);
    await later(0);
    expect((await untilGivenBack(id))["sourceState"]).toMatchObject({
      failures: 1,
      lastError: expect.stringContaining(words),
    });
    await later(4);
    const { sourceState } = await untilGivenBack(id);
    expect(sourceState.failures).toBe(2);
    expect(Date.parse(sourceState.dueAt) - services.one.clock.now().getTime()).toBeGreaterThan(5_000);
  });
});

describe("two replicas", () => {
  test("read a stream once, and the other goes on where a dead one stopped, which can store nothing more", async () => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url);
    await Promise.all([later(0), later(0, services.other), later(0), later(0, services.other)]);
    const { response: old } = await server.stream(0);
    old.write("id: 1\ndata: a\n\n");
    await untilStored(id, ["1"]);
    expect(server.opened).toHaveLength(1);
    const [reader, heir] = [services.one, services.other];
    // Its loop stands still, as if it were dead, while its socket still has what comes.
    const ahead =
      Math.max(reader.clock.now().getTime(), heir.clock.now().getTime()) - heir.clock.now().getTime();
    await services.endLeases();
    await later(ahead / 1_000, heir);
    const { headers, response } = await server.stream(1);
    expect(headers["last-event-id"]).toBe("1");
    old.write("id: 2\ndata: from the old one\n\n");
    response.write("id: 2\ndata: b\n\nid: 3\ndata: c\n\n");
    await untilStored(id, ["1", "2", "3"]);
    expect((await services.eventsOf(id)).map(({ data }) => String(data))).toStrictEqual(["a", "b", "c"]);
  });
});

describe("a reset", () => {
  test("reads the stream as if it were new, is recorded, and ends who reads it now", async () => {
    await using server = await startStreamServer();
    const id = await services.stream(server.url);
    await later(0);
    const { response } = await server.stream(0);
    response.write("id: 1\ndata: a\n\n");
    await untilStored(id, ["1"]);
    const reset = await services.one.org.rest("POST", `/api/event-channels/${id}/reset`, {});
    expect(reset.status).toBe(200);
    expect(reset.body.data.channel.sourceState.cursor).toBeUndefined();
    await later(0);
    expect((await server.stream(1)).headers["last-event-id"]).toBeUndefined();
    const { events } = await services.one.org.client.audit.listAuditEvents({});
    expect(events.some(({ action, target }) => action === "channel.reset" && target === id)).toBe(true);
  });

  test("of a channel that others send to is refused", async () => {
    const webhook = await services.one.org.rest("POST", "/api/event-channels", { name: "w", webhook: {} });
    const reset = await services.one.org.rest(
      "POST",
      `/api/event-channels/${webhook.body.data.channel.id}/reset`,
      {},
    );
    expect(reset).toMatchObject({ status: 409, body: { error: expect.stringMatching(/has no source/) } });
  });
});

test("a stream does not outlive its connection", async () => {
  await using server = await startStreamServer();
  const id = await services.stream(server.url);
  await later(0);
  const { response } = await server.stream(0);
  const closed = once(response, "close");
  const { sse } = await services.channel(id);
  await services.one.org.client.connections.deleteConnection({ id: sse.connection });
  await later(0);
  await closed;
  await untilGivenBack(id);
  await later(0);
  const channel = await untilGivenBack(id);
  expect(channel).toMatchObject({
    state: "blocked",
    stateReason: expect.stringMatching(/^its connection is gone/),
  });
  expect(server.opened).toHaveLength(1);
});

test("a paused channel's stream is closed, goes on where it was when it is resumed, and stores nothing in between", async () => {
  await using server = await startStreamServer();
  const id = await services.stream(server.url);
  await later(0);
  const { response } = await server.stream(0);
  response.write("id: 1\ndata: a\n\n");
  await untilStored(id, ["1"]);
  const ask = (what: string) => services.one.org.rest("POST", `/api/event-channels/${id}/${what}`, {});
  await ask("pause");
  // It comes while the stream is still open.
  response.write("id: 2\ndata: b\n\n");
  const closed = once(response, "close");
  await later(0);
  await closed;
  await untilGivenBack(id);
  expect((await services.eventsOf(id)).map(({ id: name }) => name)).toStrictEqual(["1"]);
  await ask("resume");
  await later(0);
  const again = await server.stream(1);
  expect(again.headers["last-event-id"]).toBe("1");
  again.response.write("id: 2\ndata: b\n\n");
  await untilStored(id, ["1", "2"]);
  expect(await services.gapsOf(id)).toStrictEqual([]);
});

test("a changed stream is read at once as it is described now, on from where it was; a new name alone does not cut it", async () => {
  await using server = await startStreamServer();
  const id = await services.stream(server.url, { path: "/old" });
  const patch = (change: unknown) => services.one.org.rest("PATCH", `/api/event-channels/${id}`, change);
  await later(0);
  const { response } = await server.stream(0);
  response.write("id: 1\ndata: a\n\n");
  await untilStored(id, ["1"]);
  await patch({ name: "renamed" });
  await later(1);
  response.write("id: 2\ndata: b\n\n");
  await untilStored(id, ["1", "2"]);
  const { sse } = await services.channel(id);
  const changed = await patch({ sse: { connection: sse.connection, path: "/new" } });
  expect(changed.body.data.channel).toMatchObject({ sse: { path: "/new", idleSeconds: 90 } });
  // It is not read as it was any more, though its reader has not noticed yet.
  response.write("id: x\ndata: late\n\n");
  await later(0);
  const { url, headers, response: again } = await server.stream(1);
  expect([url, headers["last-event-id"]]).toStrictEqual(["/new", "2"]);
  again.write("id: 3\ndata: c\n\n");
  await untilStored(id, ["1", "2", "3"]);
  expect(await services.gapsOf(id)).toStrictEqual([]);
});

test("whatever cuts the stream, repeats its events and takes its reader away, each event is stored once and in order", async () => {
  await using server = await startStreamServer();
  const id = await services.stream(server.url);
  const last = 60;
  const readers = [services.one, services.other];
  let sent = 0;
  for (let i = 0; sent < last; i++) {
    const reader = readers[i % 2]!;
    const ahead =
      Math.max(...readers.map(({ clock }) => clock.now().getTime())) - reader.clock.now().getTime();
    const isRead = () =>
      vi
        .waitUntil(() => server.opened.length > i, { timeout: 5_000 })
        .then(
          () => true,
          () => false,
        );
    // Each time the one before is taken for dead; what it notes of its cut may come behind that.
    do {
      await services.endLeases();
      // Beyond the pause of one that was cut.
      await later(ahead / 1_000 + 31, reader);
      await later(0, reader);
    } while (!(await isRead()));
    const { headers, response } = await server.stream(i);
    const from = Number(headers["last-event-id"] ?? "1");
    const to = Math.min(from + 1 + ((i * 7) % 11), last);
    for (let n = from; n <= to; n++) response.write(`id: ${n}\ndata: ${n}\n\n`);
    await vi.waitFor(
      async () => expect((await services.channel(id))["sourceState"].cursor).toBe(String(to)),
      patience,
    );
    sent = to;
    if (i % 3 === 0) response.destroy();
    // What the old ones still get must not be stored.
    for (const { response: old } of server.opened.slice(0, -1)) old.write(`id: x${i}\ndata: late\n\n`);
  }
  const ids = Array.from({ length: last }, (_, i) => String(i + 1));
  expect((await services.eventsOf(id)).map(({ id: name }) => name)).toStrictEqual(ids);
  expect(await services.gapsOf(id)).toStrictEqual([]);
});
