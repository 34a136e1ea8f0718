import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { EventSource } from "eventsource";
import { EventSourceParserStream, type EventSourceMessage } from "eventsource-parser/stream";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { layWire } from "../client/wire.ts";
import { startEvents, type TestEvents } from "./support.ts";

const page = "https://app.example";
let events: TestEvents;
beforeAll(async () => {
  events = await startEvents({ corsOrigins: [page] });
});
afterAll(() => events[Symbol.asyncDispose]());

const waiting = { timeout: 20_000, interval: 5 };
const authorized = (headers: Record<string, string> = {}) => ({
  headers: { authorization: `Bearer ${events.service.org.secret}`, ...headers },
});
const urlOf = (query: string) => `${events.service.url}/api/events/stream?${query}`;

/** A stream that has begun. */
async function open(url: string, headers: Record<string, string> = {}) {
  const stop = new AbortController();
  const reply = await fetch(url, { ...authorized(headers), signal: stop.signal });
  expect(reply.headers.get("content-type")).toBe("text/event-stream");
  const parsed = reply.body!.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  return {
    /** The next events, after which it is given up. */
    async take(count: number) {
      const taken: EventSourceMessage[] = [];
      for await (const message of parsed) {
        taken.push(message);
        if (taken.length === count) break;
      }
      stop.abort();
      return taken;
    },
  };
}

async function take(count: number, query: string, headers: Record<string, string> = {}) {
  return (await open(urlOf(query), headers)).take(count);
}

describe("server-sent events", () => {
  test("are CloudEvents that hold the data as it came, and whose id is where to go on", async () => {
    const log = await events.newChannel();
    const data = Buffer.from('{"amount": 10000000000000000001,\r\n "to":\n"Zo\u00eb"}');
    await events.send(
      log,
      { id: "a", type: "order.paid", subject: "o1", contentType: "application/json", data },
      { id: "b", contentType: "application/octet-stream", data: Buffer.from([0xff, 0x0a]) },
      { id: "c", data: undefined },
    );
    const taken = await take(3, `log=${log}&from=earliest`);
    expect(taken.map(({ id }) => id)).toEqual([`${log}:1`, `${log}:2`, `${log}:3`]);
    expect(taken[0]?.data).toContain("10000000000000000001");
    const [paid, bytes, empty] = taken.map((one) => JSON.parse(one.data) as Record<string, unknown>);
    expect(paid).toMatchObject({
      ...{ specversion: "1.0", id: "a", source: "/test", type: "order.paid", subject: "o1" },
      ...{ datacontenttype: "application/json", qelog: log, qeseq: 1, qeverified: "none" },
      data: { to: "Zo\u00eb" },
    });
    expect(bytes).toMatchObject({ id: "b", data_base64: "/wo=" });
    expect(Object.keys(empty ?? {}).filter((name) => name.startsWith("data"))).toEqual([]);
    const [resumed] = await take(1, `log=${log}&from=earliest`, { "last-event-id": taken[1]!.id! });
    expect(resumed?.id).toBe(`${log}:3`);
    const [positioned] = await take(1, `log=${log}&from=${log}:1`);
    expect(positioned?.id).toBe(`${log}:2`);
  });

  test("let no sender pass its event off as another's", async () => {
    const log = await events.newChannel();
    const forged = '{}},"qelog":"audit","type":"audit.forged","x":{"y":{}';
    await events.send(
      log,
      { contentType: "application/json", data: Buffer.from(forged) },
      { contentType: "application/json", data: Buffer.from("{}\n\nid: audit:7\ndata: {}") },
      { contentType: "text/plain", data: Buffer.from("a\n\nid: audit:7\rdata: x") },
      { extensions: { qelog: "audit", qeseq: "9", type: "audit.forged", data: "x" }, data: undefined },
    );
    const taken = await take(4, `log=${log}&from=earliest`);
    const documents = taken.map(({ data }) => JSON.parse(data) as Record<string, unknown>);
    expect(taken.map(({ id }) => id)).toEqual([1, 2, 3, 4].map((seq) => `${log}:${seq}`));
    for (const { qelog, type } of documents) expect([qelog, type]).toEqual([log, "test.happened"]);
    expect(documents[0]?.["data_base64"]).toBe(Buffer.from(forged).toString("base64"));
    expect(documents[2]?.["data"]).toBe("a\n\nid: audit:7\rdata: x");
    expect(documents[3]).not.toHaveProperty("data");
  });

  test("of several logs go on where each was", async () => {
    const [one, two] = [await events.newChannel(), await events.newChannel()];
    await events.send(one, {}, {});
    await events.send(two, {});
    const query = `log=${one}&log=${two}&from=earliest`;
    const taken = await take(3, query);
    expect(taken.at(-1)?.id).toBe(`${one}:2,${two}:1`);
    await events.send(one, {});
    const [next] = await take(1, query, { "last-event-id": `${one}:2,${two}:1` });
    expect(next?.id).toBe(`${one}:3,${two}:1`);
  });

  test("reach an EventSource, which comes back by itself where it was", async () => {
    const log = await events.newChannel();
    await events.send(log, {}, {});
    await using wire = await layWire(events.service.url);
    const source = new EventSource(`${wire.url}/api/events/stream?log=${log}&from=earliest`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...authorized().headers } }),
    });
    const ids: string[] = [];
    source.addEventListener("message", ({ lastEventId }) => ids.push(lastEventId));
    await vi.waitUntil(() => ids.length === 2, waiting);
    await wire.cut();
    await events.send(log, {});
    await wire.mend();
    await vi.waitUntil(() => ids.length === 3, waiting);
    source.close();
    expect(ids).toEqual([1, 2, 3].map((seq) => `${log}:${seq}`));
  });

  test("may be asked for by a page, also when it comes back", async () => {
    const preflight = await fetch(urlOf("log=audit"), {
      method: "OPTIONS",
      headers: {
        origin: page,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization,last-event-id",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-headers")).toContain("last-event-id");
    const stop = new AbortController();
    const reply = await fetch(urlOf("log=audit"), { ...authorized({ origin: page }), signal: stop.signal });
    expect(reply.headers.get("access-control-allow-origin")).toBe(page);
    stop.abort();
  });

  test.each([
    ["log=audit&form=earliest", 400, /^unknown query parameter "form"; there are log, type, from$/],
    ["", 400, /^log: name the log to read/],
    ["log=audit&from=yesterday", 400, /^from: give earliest, latest, a time such as/],
    ["log=audit&from=service:1", 400, /^the position is one of the log service/],
    ["log=audit&from=audit:99999", 400, /^the last event of audit is number \d+;/],
    ["log=audit&log=audit", 400, /^logs: audit is named twice/],
    ["log=chn_missing", 404, /^log not found/],
  ])("asked for as %j are refused before they begin", async (query, status, message) => {
    const refused = await events.service.org.rest("GET", `/api/events/stream?${query}`);
    expect(refused).toMatchObject({ status, body: { error: expect.stringMatching(message) as unknown } });
    const strange = { "last-event-id": "nonsense" };
    const reply = await events.service.org.rest("GET", "/api/events/stream?log=audit", undefined, strange);
    expect(reply).toMatchObject({
      status: 400,
      body: { error: expect.stringMatching(/^Last-Event-ID: not an id/) as unknown },
    });
  });

  test("say why they end", async () => {
    const log = await events.newChannel();
    const stream = await open(urlOf(`log=${log}`));
    await events.service.org.client.channels.deleteChannel({ id: log });
    events.service.clock.advance(4_000);
    const [last] = await stream.take(1);
    expect(last).toMatchObject({ event: "error" });
    expect(JSON.parse(last?.data ?? "{}")).toMatchObject({ reason: "LOG_NOT_FOUND" });
  });

  test("are cut for a reader that does not read, which holds no other up", async () => {
    const log = await events.newChannel();
    const large = { data: Buffer.alloc(1024 * 1024), contentType: "application/octet-stream" };
    for (let i = 0; i < 12; i += 1) await events.send(log, large);
    const url = urlOf(`log=${log}&from=earliest`);
    const [reply] = (await once(get(url, authorized()), "response")) as [IncomingMessage];
    const other = await open(url);
    expect(await other.take(12)).toHaveLength(12);
    events.service.clock.advance(31_000);
    const id = String(reply.headers["x-request-id"]);
    await vi.waitUntil(() => events.service.logged().includes(id), waiting);
    reply.destroy();
  });
});
