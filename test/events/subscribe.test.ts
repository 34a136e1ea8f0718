import { once } from "node:events";
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  EventService,
  SubscribeRequestSchema,
  type SubscribeResponse,
} from "#gen/patchbay/events/v1/event_service_pb.js";
import { presentKey } from "#src/client/connect.ts";
import { reasonOf, type PatchbayClient } from "#src/client/node.ts";
import { blockNotifications, startReplicas } from "../support/replicas.ts";
import { startEvents, type TestEvents } from "./support.ts";

let events: TestEvents;
beforeAll(async () => {
  events = await startEvents();
});
const closing: (() => void)[] = [];
afterAll(async () => {
  for (const close of closing) close();
  await events[Symbol.asyncDispose]();
});

const waiting = { timeout: 20_000, interval: 5 };
type Asked = Parameters<PatchbayClient["events"]["subscribe"]>[0];

/** What a reader is sent, from the first message on. */
async function read(client: Pick<PatchbayClient["events"], "subscribe">, asked: Asked) {
  const stop = new AbortController();
  const messages: SubscribeResponse[] = [];
  const ended = (async () => {
    for await (const message of client.subscribe(asked, { signal: stop.signal })) messages.push(message);
  })().then(() => undefined, ConnectError.from);
  await Promise.race([vi.waitUntil(() => messages.length > 0, waiting), ended]);
  const seqs = () => messages.flatMap((message) => message.events.map(({ seq }) => Number(seq)));
  return {
    ...{ messages, ended, seqs },
    stop: () => stop.abort(),
    /** Resolves when it was sent this many events. */
    sent: (count: number) => vi.waitUntil(() => seqs().length >= count, waiting),
    positions: () => (messages.at(-1)?.positions ?? []).map(({ log, seq }) => [log, Number(seq)]),
  };
}

const earliest = (log: string) => ({ log, from: { case: "earliest", value: true } }) as const;
const after = (log: string, seq: number) => ({ log, from: { case: "after", value: BigInt(seq) } }) as const;
const interceptors = () => [presentKey(events.service.org.secret)];
const protocols: readonly (readonly [string, () => Transport])[] = [
  ["gRPC", () => createGrpcTransport({ baseUrl: events.service.url, interceptors: interceptors() })],
  ["Connect", () => createConnectTransport({ baseUrl: events.service.url, httpVersion: "1.1", interceptors: interceptors() })], // prettier-ignore
  ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: events.service.url, httpVersion: "1.1", interceptors: interceptors() })], // prettier-ignore
];

describe("a stream of events", () => {
  test.each(protocols)("over %s has what was stored and what comes, in order, with data", async (_, over) => {
    const log = await events.newChannel();
    await events.send(log, { data: Buffer.from("one") }, { data: Buffer.from("two") });
    const stream = await read(createClient(EventService, over()), { logs: [earliest(log)] });
    expect(stream.messages[0]).toMatchObject({ events: [], positions: [{ log, seq: 0n }] });
    await events.send(log, { data: Buffer.from("three") });
    await stream.sent(3);
    const sent = stream.messages.flatMap((message) => message.events);
    expect(sent.map(({ seq, data }) => [seq, Buffer.from(data ?? []).toString()])).toEqual([
      [1n, "one"],
      [2n, "two"],
      [3n, "three"],
    ]);
    stream.stop();
    expect((await stream.ended)?.code).toBe(Code.Canceled);
  });

  test("that is cut anywhere and taken up again misses nothing and repeats nothing", async () => {
    const { client } = events.service.org;
    const [one, two] = [await events.newChannel(), await events.newChannel()];
    const each = 60;
    // Before many ask for its key at once.
    for (const log of [one, two]) await events.send(log, { id: "first" });
    const sending = Promise.all(
      [one, two].flatMap((log) =>
        Array.from({ length: each - 1 }, (_, i) => events.send(log, { id: `${i}` })),
      ),
    );
    const seen = new Map([one, two].map((log) => [log, [] as number[]]));
    const all = () => [...seen.values()].flat().length;
    let positions = [earliest(one), earliest(two)] as Asked["logs"];
    for (let cuts = 0; all() < 2 * each && cuts < 1_000; cuts += 1) {
      for await (const message of client.events.subscribe({ logs: positions ?? [] })) {
        for (const { log, seq } of message.events) seen.get(log)?.push(Number(seq));
        positions = message.positions.map(({ log, seq }) => after(log, Number(seq)));
        if (message.events.length > 0) break;
      }
    }
    await sending;
    const whole = Array.from({ length: each }, (_, i) => i + 1);
    expect(Object.fromEntries(seen)).toEqual({ [one]: whole, [two]: whole });
  });

  test("begins now, at a time, or behind a number", async () => {
    const { client } = events.service.org;
    const log = await events.newChannel();
    await events.send(log, {}, {});
    events.service.clock.advance(1_000);
    const time = timestampFromDate(events.service.clock.now());
    await events.send(log, {}, {});
    const latest = await read(client.events, { logs: [{ log }] });
    expect(latest.positions()).toEqual([[log, 4]]);
    const since = await read(client.events, { logs: [{ log, from: { case: "since", value: time } }] });
    await since.sent(2);
    const behind = await read(client.events, { logs: [after(log, 3)] });
    await behind.sent(1);
    await events.send(log, {});
    for (const stream of [latest, since, behind])
      await vi.waitUntil(() => stream.seqs().includes(5), waiting);
    expect([latest, since, behind].map(({ seqs }) => seqs())).toEqual([[5], [3, 4, 5], [4, 5]]);
    for (const stream of [latest, since, behind]) stream.stop();
  });

  test("sends only what its types select, and says how far it read all the same", async () => {
    const log = await events.newChannel();
    const stream = await read(events.service.org.client.events, {
      logs: [earliest(log)],
      types: [`channel:${log}/order.*`],
    });
    await events.send(log, { type: "order.paid" }, { type: "noise" }, { type: "noise" });
    await stream.sent(1);
    await events.send(log, { type: "noise" });
    // The first of these may be before it was read.
    const isThere = () => {
      events.service.clock.advance(15_000);
      return stream.positions()[0]?.[1] === 4;
    };
    await vi.waitUntil(isThere, { ...waiting, interval: 1_200 });
    expect(stream.messages.at(-1)?.events).toEqual([]);
    expect(stream.seqs()).toEqual([1]);
    stream.stop();
  });

  test("has changes that another replica makes although nothing announces them", async () => {
    await using replicas = await startReplicas();
    await blockNotifications(replicas.postgres);
    const { one, other } = replicas;
    const elsewhere = other.as(one.org.secret);
    const stream = await read(elsewhere.client.events, { logs: [{ log: "audit" }] });
    await one.org.client.apiKeys.createApiKey({ name: "new", scopes: ["other:view"] });
    await stream.sent(1);
    expect(stream.messages.at(-1)?.events[0]?.type).toBe("audit.api_key.create");
    stream.stop();
  });
});

/** Asks for a stream and does not read it. Answers its id. */
async function neglect(contentType: string, log: string): Promise<string> {
  const { url, org } = events.service;
  const message = toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { logs: [earliest(log)] }));
  const envelope = Buffer.alloc(5);
  envelope.writeUInt32BE(message.length, 1);
  const path = "/patchbay.events.v1.EventService/Subscribe";
  const headers = { authorization: `Bearer ${org.secret}`, "content-type": contentType, te: "trailers" };
  if (contentType === "application/grpc") {
    const session = connect(url);
    closing.push(() => session.destroy());
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    // A cut stream is what is waited for.
    stream.on("error", () => undefined).end(Buffer.concat([envelope, message]));
    const [answered] = (await once(stream, "response")) as [IncomingHttpHeaders];
    return String(answered["x-request-id"]);
  }
  const request = httpRequest(`${url}${path}`, { method: "POST", headers });
  closing.push(() => request.destroy());
  request.end(Buffer.concat([envelope, message]));
  const [reply] = (await once(request, "response")) as [IncomingMessage];
  reply.on("error", () => undefined);
  return String(reply.headers["x-request-id"]);
}

test("a stream is cut for a reader that does not read, on every protocol, which holds no other up", async () => {
  const log = await events.newChannel();
  const large = { data: Buffer.alloc(1024 * 1024) };
  for (let i = 0; i < 12; i += 1) await events.send(log, large);
  const types = ["application/grpc", "application/grpc-web+proto", "application/connect+proto"];
  const ids = await Promise.all(types.map((type) => neglect(type, log)));
  const other = await read(events.service.org.client.events, { logs: [earliest(log)] });
  await other.sent(12);
  for (const id of ids) expect(events.service.logged()).not.toContain(id);
  events.service.clock.advance(31_000);
  await vi.waitUntil(() => ids.every((id) => events.service.logged().includes(id)), waiting);
  expect(events.service.logged()).not.toMatch(/"level":(?:40|50)/);
  other.stop();
});

describe("a stream ends", () => {
  async function keyWith(scopes: string[]) {
    const { apiKeys } = events.service.org.client;
    const { apiKey, secret } = await apiKeys.createApiKey({ name: "reader", scopes });
    return { id: apiKey!.id, client: events.service.as(secret).client };
  }

  test("within 5 seconds of the end of its key, and sends nothing after it", async () => {
    const log = await events.newChannel();
    const reader = await keyWith(["events:view"]);
    const stream = await read(reader.client.events, { logs: [{ log }] });
    await events.service.org.client.apiKeys.revokeApiKey({ id: reader.id });
    events.service.clock.advance(4_000);
    await events.send(log, {});
    expect(reasonOf(await stream.ended)).toBe("INVALID_BEARER");
    expect(stream.seqs()).toEqual([]);
  });

  test("when its key may no longer read one of its logs", async () => {
    const reader = await keyWith(["events:view", "audit:view"]);
    const stream = await read(reader.client.events, { logs: [{ log: "audit" }] });
    const { apiKeys } = events.service.org.client;
    await apiKeys.updateApiKey({ id: reader.id, scopes: ["events:view"] });
    events.service.clock.advance(4_000);
    expect(await stream.ended).toMatchObject({ rawMessage: "missing scope: audit:view" });
  });

  test("when its key may no longer know of the connection that its channel reads through", async () => {
    const { client } = events.service.org;
    const wanted = { serviceSlug: "custom:source", baseUrl: "http://127.0.0.1:9", apiKey: "k" };
    const { connection } = await client.connections.upsertServiceConnection(wanted);
    const log = await events.newChannel();
    await events.service.postgres.asOwner(
      `update channels set connection_id = '${connection!.id}' where id = '${log}'`,
    );
    const limitedTo = (value: string) => ({ rights: [{ connection: { case: "slug", value } as const }] });
    const scopes = ["events:view"];
    const { apiKey, secret } = await client.apiKeys.createApiKey({
      ...{ name: "limited", scopes, connections: limitedTo("custom:source") },
    });
    const stream = await read(events.service.as(secret).client.events, { logs: [earliest(log)] });
    await events.send(log, {});
    await stream.sent(1);
    await client.apiKeys.updateApiKey({ id: apiKey!.id, connections: limitedTo("custom:other") });
    events.service.clock.advance(4_000);
    await events.send(log, {});
    expect(reasonOf(await stream.ended)).toBe("LOG_NOT_FOUND");
    expect(stream.seqs()).toEqual([1]);
  });

  test("with its channel", async () => {
    const log = await events.newChannel();
    const { client } = events.service.org;
    const stream = await read(client.events, { logs: [{ log }] });
    await client.channels.deleteChannel({ id: log });
    events.service.clock.advance(4_000);
    expect(reasonOf(await stream.ended)).toBe("LOG_NOT_FOUND");
  });

  test("when the service stops, which does not wait for it", async () => {
    await using stopping = await startEvents();
    const log = await stopping.newChannel();
    const stream = await read(stopping.service.org.client.events, { logs: [{ log }] });
    expect(await stopping.service.app.close(20_000)).toBe(true);
    const error = await stream.ended;
    expect([error?.code, reasonOf(error)]).toEqual([Code.Unavailable, "STREAM_ENDED"]);
  });

  test.each([
    ["beyond the end of its log", [{ seq: 9 }], "CURSOR_AHEAD"],
    ["of a log that it names twice", [{ seq: 0 }, { seq: 0 }], "INVALID_REQUEST"],
    ["of no log", [], "INVALID_REQUEST"],
  ])("before it begins at a position %s", async (_, starts, reason) => {
    const log = await events.newChannel();
    const asked = { logs: starts.map(({ seq }) => after(log, seq)) };
    const stream = await read(events.service.org.client.events, asked);
    expect(reasonOf(await stream.ended)).toBe(reason);
  });
});

test("a stream says that its deadline is over when that ends it", async () => {
  const body = Buffer.from('{"logs":[{"log":"service","earliest":true}]}');
  const reply = await fetch(`${events.service.url}/patchbay.events.v1.EventService/Subscribe`, {
    method: "POST",
    headers: {
      ...{ "content-type": "application/connect+json", "connect-protocol-version": "1" },
      ...{ "connect-timeout-ms": "300", authorization: `Bearer ${events.service.org.secret}` },
    },
    body: Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]),
  });
  expect(await reply.text()).toMatch(/"code":"deadline_exceeded"[^]*$/);
});
