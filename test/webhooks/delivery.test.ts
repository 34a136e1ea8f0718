import { createHmac } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { HTTP } from "cloudevents";
import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeEach, expect, test } from "vitest";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { createDeliver } from "#src/webhooks/delivery.ts";
import { payloadOf } from "#src/webhooks/payload.ts";
import { signatureHeaders, signingSecretText } from "#src/webhooks/signing.ts";
import { Secret } from "#src/platform/secret.ts";
import { delivery, loggedEvent, receiver, secretOf } from "../support/deliveries.ts";
import { startUpstream } from "../support/upstream.ts";

const upstream = await startUpstream();
const outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1") });
const now = () => new Date();
const deliver = createDeliver({ outbound, now });
const running = new AbortController().signal;

afterAll(async () => {
  await outbound.close();
  await upstream[Symbol.asyncDispose]();
});
beforeEach(() => upstream.answer({}));

const send = (event = loggedEvent(), to = receiver(upstream.url)) => deliver(to, delivery(event), running);

test("the signatures of a known secret, id, time and body are these", async () => {
  const body = Buffer.from('{"type":"webhook.ping"}');
  const signed = { id: "service.7", timestamp: 1_764_410_400, body };
  expect(await signatureHeaders({ current: secretOf(7), previous: secretOf(8) }, signed)).toEqual({
    "webhook-id": "service.7",
    "webhook-timestamp": "1764410400",
    "webhook-signature":
      "v1,2NRNu54EpGAh5QKmkTGdNNVABN5eEm8loiZtZCsGYPM= v1,bgmwH+YYU+SR17v940J6Zy5HTk911W02u7DxhI0X96A=",
    "x-qe-signature": "sha256=c7cf55b580329f5dc8e76ca5c01eb4355015e790023ce985672f1e611d149346",
    "x-qe-signature-next": "sha256=bdf5a66802d3f4de151dde6813b74a8fa60b2703980675e5a39b112184ed2eb1",
  });
});

test("a receiver with either of two secrets verifies a delivery as Standard Webhooks does", async () => {
  const [current, previous] = [secretOf(7), secretOf(8)];
  await send(loggedEvent(), receiver(upstream.url, { secrets: { current, previous } }));
  const { headers, body } = upstream.asked.at(-1)!;
  for (const secret of [current, previous]) {
    expect(
      new Webhook(signingSecretText(secret)).verify(body, headers as Record<string, string>),
    ).toMatchObject({
      type: "payment.made",
      data: { amount: 1 },
    });
  }
  const plain = (secret: typeof current) => createHmac("sha256", secret.reveal()).update(body).digest("hex");
  expect(headers["x-qe-signature"]).toBe(`sha256=${plain(previous)}`);
  expect(headers["x-qe-signature-next"]).toBe(`sha256=${plain(current)}`);
});

test("what is sent is one document that readers of CloudEvents and of Standard Webhooks both understand", async () => {
  const event = loggedEvent({
    subject: "acct/1",
    time: "2026-11-29T09:59:59+01:00",
    extensions: { qeseq: "9", x: "y" },
  });
  await send(event);
  const { body } = upstream.asked.at(-1)!;
  expect(HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body })).toMatchObject({
    ...{ specversion: "1.0", id: "e1", source: "/bank", type: "payment.made", subject: "acct/1", x: "y" },
    ...{ qelog: "chn_1", qeseq: 42, qeverified: "stripe", timestamp: "2026-11-29T08:59:59.000Z" },
  });
  // Parsed and written again it would be 1.
  expect(body).toContain('"data":{"amount":1.0}');
});

test.each([
  ["JSON that is none", "application/json", Buffer.from('{"a":'), "data_base64"],
  ["JSON with a text that is no UTF-8", "application/json", Buffer.from('"\xff"', "latin1"), "data_base64"],
  ["JSON of another name", "application/cloudevents+json; charset=utf-8", Buffer.from("[0]"), "data"],
  ["text", "text/plain", Buffer.from('say "hi"\n'), "data"],
  ["bytes", "image/png", Buffer.from([0, 1, 255]), "data_base64"],
])(
  "%s is in the document so that the bytes that came can be had from it",
  async (_, contentType, data, member) => {
    const { body } = await payloadOf(loggedEvent({ contentType, data }), {
      ...{ type: "a", body: "webhook", contentType: "application/json", previous: null },
    });
    const document = JSON.parse(body.toString()) as Record<string, string>;
    const found = document[member];
    if (member === "data_base64") expect(Buffer.from(found ?? "", "base64")).toEqual(data);
    else expect(found).toEqual(contentType === "text/plain" ? data.toString() : JSON.parse(data.toString()));
  },
);

test("whatever attributes an event has, the document is JSON in which those of ours are ours", async () => {
  const names = fc.stringMatching(/^[a-z0-9]{1,12}$/);
  const arbitrary = fc.record({
    ...{
      id: fc.string(),
      source: fc.string(),
      subject: fc.option(fc.string(), { nil: undefined }),
      data: fc.uint8Array(),
    },
    extensions: fc.dictionary(
      fc.oneof(names, fc.constantFrom("type", "data", "qelog", "timestamp")),
      fc.string(),
    ),
  });
  await fc.assert(
    fc.asyncProperty(arbitrary, async ({ data, ...parts }) => {
      const event = loggedEvent({ ...parts, data: Buffer.from(data) });
      const form = { type: "t", contentType: "application/json", previous: null };
      const { body } = await payloadOf(event, { ...form, body: "webhook" });
      const document = JSON.parse(body.toString()) as Record<string, unknown>;
      expect(document).toMatchObject({
        type: "t",
        qelog: "chn_1",
        qeseq: 42,
        timestamp: "2026-11-29T10:00:00.000Z",
      });
      const { headers } = await payloadOf(event, { ...form, body: "binary" });
      expect(decodeURIComponent(headers["ce-id"] ?? "")).toBe(parts.id.toWellFormed());
      expect(Object.values(headers).every((value) => /^[\x21-\x7e]*$/.test(value))).toBe(true);
    }),
    { numRuns: 100 },
  );
});

test("in binary mode the body is the bytes that came, and the attributes are headers", async () => {
  const data = Buffer.from([123, 255, 0]);
  const to = receiver(upstream.url, { body: "binary" });
  await send(loggedEvent({ id: "é %", contentType: "application/x-own", data }), to);
  const { headers, body } = upstream.asked.at(-1)!;
  expect(headers).toMatchObject({
    ...{
      "content-type": "application/x-own",
      "ce-specversion": "1.0",
      "ce-id": "%C3%A9%20%25",
      "ce-qeseq": "42",
    },
  });
  expect(Buffer.from(body)).toEqual(Buffer.from(data.toString()));
});

test("a delivery says its number, the number before it, its try, and how many services it has passed", async () => {
  const event = loggedEvent({ extensions: { xqehops: "2" } });
  await deliver(
    receiver(upstream.url),
    delivery(event, { attempt: 3, previous: 40, redelivery: true }),
    running,
  );
  expect(upstream.asked.at(-1)!.headers).toMatchObject({
    ...{
      "webhook-id": "chn_1.42",
      "x-qe-sequence": "chn_1:42",
      "x-qe-previous": "chn_1:40",
      "x-qe-attempt": "3",
    },
    ...{ "x-qe-hops": "3", "x-qe-redelivery": "true" },
  });
  expect(JSON.parse(upstream.asked.at(-1)!.body)).toMatchObject({ xqehops: "3", qeprevious: "chn_1:40" });
  await send();
  const { headers } = upstream.asked.at(-1)!;
  expect(headers).toMatchObject({ "x-qe-previous": "chn_1:-", "x-qe-hops": "1" });
  expect(headers).not.toHaveProperty("x-qe-redelivery");
});

test("an endpoint's own headers are sent, also its password, and replace none of those that prove who sends", async () => {
  const own = {
    Authorization: "Bearer own",
    "X-Team": "a",
    "Webhook-Id": "forged",
    "x-qe-sequence": "forged",
  };
  const headers = Object.fromEntries(
    Object.entries(own).map(([name, value]) => [name, Secret.fromText(value)]),
  );
  await send(loggedEvent(), receiver(`${upstream.url}/hook/?key=a%2Fb`, { headers }));
  expect(upstream.asked.at(-1)).toMatchObject({
    url: "/hook/?key=a%2Fb",
    headers: {
      authorization: "Bearer own",
      "x-team": "a",
      "webhook-id": "chn_1.42",
      "x-qe-sequence": "chn_1:42",
    },
  });
});

test.each([
  [204, undefined, { ok: true, status: 204, stage: undefined }],
  [302, "5", { ok: false, status: 302, stage: "HTTP", retryAfterMs: 5_000 }],
  [429, "999999", { ok: false, status: 429, retryAfterMs: 86_400_000 }],
  [503, "nonsense", { ok: false, status: 503, retryAfterMs: undefined }],
  [500, "-3", { ok: false, status: 500, retryAfterMs: undefined }],
])(
  "an answer %i with Retry-After %s counts as what it is, and redirects are not followed",
  async (status, after, expected) => {
    upstream.answer({
      status,
      headers: { location: `${upstream.url}/other`, ...(after !== undefined && { "retry-after": after }) },
    });
    const before = upstream.asked.length;
    expect(await send()).toMatchObject(expected);
    expect(upstream.asked).toHaveLength(before + 1);
  },
);

test("an address that may not be called, and a port where nobody listens, are outcomes, not errors", async () => {
  expect(await send(loggedEvent(), receiver("http://169.254.169.254/"))).toMatchObject({
    ok: false,
    stage: "ADDRESS",
  });
  expect(await send(loggedEvent(), receiver("http://127.0.0.1:1/"))).toMatchObject({
    ok: false,
    stage: "TCP",
  });
});

test("the type of an answer is not told where it repeats what an own header holds", async () => {
  const headers = { authorization: Secret.fromText("Bearer own-password") };
  const typeOf = async (contentType: string) => {
    upstream.answer({ headers: { "content-type": contentType } });
    return (await send(loggedEvent(), receiver(upstream.url, { headers }))).answerType;
  };
  expect(await typeOf("text/own-password")).toBeUndefined();
  expect(await typeOf(`text/${Buffer.from("own-password").toString("hex")}`)).toBeUndefined();
  expect(await typeOf("text/plain; charset=utf-8")).toBe("text/plain");
});

test("an endless answer counts by its status, and its socket is closed", async () => {
  const server = await rawServer(
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n",
    Buffer.alloc(256 * 1024, 65),
  );
  expect(await send(loggedEvent(), receiver(server.url))).toMatchObject({
    ok: true,
    status: 200,
    answerType: "text/plain",
  });
  await server.closed;
  server.close();
});

test("the socket of a short answer is used again", async () => {
  let sockets = 0;
  const server = createHttpServer((request, response) =>
    request.resume().on("end", () => response.end("thanks")),
  );
  server.on("connection", () => sockets++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const to = receiver(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  for (let i = 0; i < 5; i++) await send(loggedEvent(), to);
  expect(sockets).toBeLessThan(5);
  server.closeAllConnections();
  server.close();
});

async function rawServer(head: string, endless: Buffer) {
  const closed = Promise.withResolvers<void>();
  const server: Server = createServer((socket) => {
    socket.on("error", () => {}).on("close", () => closed.resolve());
    socket.once("data", () => {
      socket.write(head);
      const more = (): void => {
        while (socket.writable && socket.write(endless));
      };
      socket.on("drain", more);
      more();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, closed: closed.promise, close: () => server.close() };
}
