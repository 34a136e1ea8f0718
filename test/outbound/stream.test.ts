import { once } from "node:events";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import type { Injection } from "#src/outbound/injection.ts";
import type { OutboundLimits } from "#src/outbound/limits.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import type { StreamRequest } from "#src/outbound/stream.ts";
import { fakeLookup, localNetwork, response, startUpstream, type Answer, type Upstream } from "./network.ts";
import { brokenPaths, brokenUrls, deniedHosts, noHosts } from "./ssrf-vectors.ts";

let upstream: Upstream;
let answer: Answer = response("reached");
beforeAll(async () => {
  upstream = await startUpstream((socket, request) => {
    if (typeof answer === "function") answer(socket, request);
    else socket.write(answer);
  });
});
afterAll(() => upstream[Symbol.asyncDispose]());

const secret = "a-secret-that-is-long-enough";
const nothing: Injection = { headers: {}, query: {}, cookies: {}, body: {}, secrets: [secret] };

function client(allow = "127.0.0.1", zone = {}, limits: Partial<OutboundLimits> = {}) {
  const network = localNetwork();
  const dns = fakeLookup(zone);
  const outbound = createOutbound({
    allow: parseOutboundAllow(allow),
    lookup: dns.lookup,
    connect: network.connect,
    limits,
  });
  const stream = (request: Partial<StreamRequest>, injection: Partial<Injection> = {}) => {
    const { baseUrl = upstream.origin } = request;
    return outbound.stream({
      share: "acme",
      baseUrl,
      method: "GET",
      path: "/",
      query: "",
      headers: {},
      signal: new AbortController().signal,
      credential: { boundTo: baseUrl, reveal: () => ({ ...nothing, ...injection }) },
      ...request,
    });
  };
  return { outbound, stream, dialled: network.dialled };
}

/** What a call through a connection to the base URL comes to, and whether anything was connected to. */
async function outcomeOf(baseUrl: string, { allow = "", zone = {}, path = "/" } = {}) {
  const { outbound, stream, dialled } = client(allow, zone);
  const before = upstream.connections;
  const outcome = await stream({ baseUrl, path }).catch((error: unknown) => error);
  await outbound.close();
  return { outcome, dialled, hits: upstream.connections - before };
}

const none = { dialled: [], hits: 0 };

describe("a stream goes nowhere that a call may not go:", () => {
  test.each(deniedHosts)("row %i: %s", async (_, host) => {
    const zone = { localhost: ["127.0.0.1"], "a.localhost": ["127.0.0.1"] };
    const ended = await outcomeOf(`http://${host}:${upstream.port}`, { zone });
    expect(ended).toMatchObject({ outcome: { reason: "ADDRESS_DENIED" }, ...none });
  });

  test.each(noHosts)("row 12: %s", async (host) => {
    expect(await outcomeOf(`http://${host}/`)).toMatchObject({
      outcome: { reason: "INVALID_BASE_URL" },
      ...none,
    });
  });

  test.each(brokenUrls)("row %i: %s", async (_, url) => {
    expect(await outcomeOf(url)).toMatchObject({ outcome: { reason: "INVALID_BASE_URL" }, ...none });
  });

  test.each(brokenPaths)("row %i: %s", async (_, path) => {
    const ended = await outcomeOf(upstream.origin, { allow: "127.0.0.1", path });
    expect(ended).toMatchObject({ outcome: { reason: "INVALID_PATH" }, ...none });
  });

  test.each([["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]])(
    "a name that leads to %s",
    async (...addresses) => {
      const ended = await outcomeOf(`http://a.example:${upstream.port}`, {
        zone: { "a.example": addresses },
      });
      expect(ended).toMatchObject({ outcome: { reason: "ADDRESS_DENIED" }, ...none });
    },
  );

  test("a base URL that the credential was not stored for", async () => {
    const { outbound, stream } = client();
    const credential = { boundTo: "https://elsewhere.example", reveal: () => nothing };
    await expect(stream({ credential })).rejects.toMatchObject({ reason: "INVALID_OUTBOUND_REQUEST" });
    await outbound.close();
  });
});

describe("a credential takes the place of what the caller sent by its name", () => {
  const headOf = async (request: Partial<StreamRequest>, injection: Partial<Injection>) => {
    const { outbound, stream } = client();
    const before = upstream.received.length;
    await text((await stream(request, injection)).body);
    await outbound.close();
    return upstream.received.slice(before);
  };

  test.each([
    ["", "/?key=s%20ecret"],
    ["a=1&key=mine&b=%20+&KEY=mine&key[]=mine&k%65y=mine", "/?a=1&b=%20+&key=s%20ecret"],
    ["a", "/?a&key=s%20ecret"],
  ])("in the query '%s'", async (query, target) => {
    const injection = { query: { key: "s ecret" } };
    expect(await headOf({ query }, injection)).toMatch(`GET ${target} HTTP/1.1`);
  });

  test("in headers and cookies", async () => {
    const head = await headOf(
      { headers: { "x-key": "mine", X_Key: "mine", cookie: "a=1" } },
      { headers: { "x-key": "theirs" }, cookies: { session: "theirs" } },
    );
    expect(head).toMatch("x-key: theirs");
    expect(head).toMatch("cookie: session=theirs");
    expect(head).not.toMatch("mine");
  });

  test("in a body that is there as a whole, and in no other", async () => {
    const headers = { "content-type": "application/json" };
    const injection = { body: { key: "theirs" } };
    const body = Buffer.from('{"a":1,"key":"mine"}');
    expect(await headOf({ method: "POST", body, headers }, injection)).toMatch('{"a":1,"key":"theirs"}');
    const streamed = headOf({ method: "POST", body: Readable.from([body]), headers }, injection);
    await expect(streamed).rejects.toMatchObject({ reason: "INVALID_OUTBOUND_REQUEST" });
  });

  test.each(["a b", "a#b", "\u00e4"])("but a query that is not encoded is refused: %s", async (query) => {
    await expect(headOf({ query }, {})).rejects.toMatchObject({ reason: "INVALID_OUTBOUND_REQUEST" });
  });
});

describe("a stream ends when nothing comes any more", () => {
  const limits = { streamIdleMs: 50 };

  test.each<[string, Answer]>([
    ["no answer", () => {}],
    ["no answer, but early hints for ever", (socket) => {
        const hints = setInterval(() => socket.write("HTTP/1.1 103 Early Hints\r\n\r\n"), 5);
        socket.once("close", () => clearInterval(hints));
      }], // prettier-ignore
  ])("of %s", async (_, silent) => {
    answer = silent;
    const { outbound, stream } = client("127.0.0.1", {}, limits);
    await expect(stream({})).rejects.toMatchObject({ reason: "UPSTREAM_TIMEOUT" });
    await outbound.close();
    answer = response("reached");
  });

  test("of a body", async () => {
    answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    const { outbound, stream } = client("127.0.0.1", {}, { streamIdleMs: 500 });
    const { body } = await stream({});
    await expect(text(body)).rejects.toMatchObject({ reason: "UPSTREAM_TIMEOUT" });
    await outbound.close();
    answer = response("reached");
  });

  test("sooner than others, if its caller says so", async () => {
    answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    const { outbound, stream } = client("127.0.0.1", {}, { streamIdleMs: 3_600_000 });
    const { body } = await stream({ idleMs: 500 });
    await expect(text(body)).rejects.toMatchObject({ reason: "UPSTREAM_TIMEOUT" });
    await outbound.close();
    answer = response("reached");
  });
});

test("streams of one lane take no slot of another", async () => {
  answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
  const { outbound, stream } = client("127.0.0.1", {}, { callsPerOrigin: 1, streamPatienceMs: 50 });
  expect((await stream({ lane: "sources" })).status).toBe(200);
  await expect(stream({ lane: "sources" })).rejects.toMatchObject({ metadata: { stage: "QUEUE" } });
  expect((await stream({})).status).toBe(200);
  await outbound.close();
  answer = response("reached");
});

test("a stream waits for its slot, and not for ever; whoever leaves gives it back", async () => {
  answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
  const { outbound, stream } = client("127.0.0.1", {}, { callsPerOrigin: 1, streamPatienceMs: 50 });
  const leaving = new AbortController();
  const first = await stream({ signal: leaving.signal });
  await expect(stream({})).rejects.toMatchObject({
    reason: "UPSTREAM_TIMEOUT",
    metadata: { stage: "QUEUE" },
  });
  const gone = new Error("the caller went away");
  leaving.abort(gone);
  await expect(text(first.body)).rejects.toBe(gone);
  expect((await stream({})).status).toBe(200);
  await outbound.close();
  answer = response("reached");
});

test("a caller that leaves while its call is prepared has made none", async () => {
  const { outbound, stream, dialled } = client();
  const leaving = new AbortController();
  const call = stream({ signal: leaving.signal });
  const gone = new Error("the caller went away");
  leaving.abort(gone);
  await expect(call).rejects.toBe(gone);
  expect(dialled).toEqual([]);
  await outbound.close();
});

test("pieces of a byte that come at once are looked at and passed on together", async () => {
  const pieces = 10_000;
  answer = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${"1\r\nx\r\n".repeat(pieces)}0\r\n\r\n`;
  const { outbound, stream } = client();
  const { body } = await stream({});
  const lengths: number[] = [];
  body.on("data", (piece: Buffer) => void lengths.push(piece.length));
  await once(body, "end");
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(pieces);
  expect(lengths.length).toBeLessThan(pieces / 10);
  await outbound.close();
  answer = response("reached");
});

test("an answer with more than 16 KiB of headers is not passed on", async () => {
  answer = response("", `x: ${"a".repeat(17_000)}\r\n`);
  const { outbound, stream } = client();
  await expect(stream({})).rejects.toMatchObject({ reason: "UPSTREAM_TOO_LARGE" });
  await outbound.close();
  answer = response("reached");
});
