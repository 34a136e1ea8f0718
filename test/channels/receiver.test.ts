import type { MessageInitShape } from "@bufbuild/protobuf";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReceiverSchema, WebhookSenderSchema } from "#gen/patchbay/events/v1/channel_pb.js";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { readLogsOf, type LogReader } from "../support/read-log.ts";
import { startService, type TestService } from "../support/service.ts";

const rootKey = localRootKey(newRootKeyText());
let service: TestService;
let logs: LogReader;
beforeAll(async () => {
  service = await startService({ rootKey, limits: { failuresPerMinute: 10_000 } });
  logs = await readLogsOf(service, rootKey);
});
afterAll(async () => {
  await logs[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

interface Wanted {
  readonly source:
    | { readonly case: "webhook"; readonly value: MessageInitShape<typeof WebhookSenderSchema> }
    | { readonly case: "cloudEvents"; readonly value: { allowedOrigins?: string[] } };
  readonly receiver?: MessageInitShape<typeof ReceiverSchema>;
  readonly secret?: string;
}
type More = Pick<Wanted, "receiver" | "secret">;

async function newChannel(wanted: Wanted) {
  const {
    channel,
    secret = "",
    url,
  } = await service.org.client.channels.createChannel({
    name: "test",
    ...wanted,
  });
  return { id: channel!.id, secret, url };
}

const webhook = (preset: string, more: More = {}): Wanted => ({
  source: { case: "webhook", value: { preset } },
  ...more,
});
const cloudEvents = (more: More = {}): Wanted => ({ source: { case: "cloudEvents", value: {} }, ...more });

async function post(url: string, body: string | Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: "POST",
    body: new Uint8Array(Buffer.from(body)),
    headers: { "content-type": "application/json", ...headers },
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text };
}

function githubSignature(secret: string, body: string | Buffer) {
  return `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
}

function githubHeaders(secret: string, body: string | Buffer, delivery: string) {
  return {
    "x-hub-signature-256": githubSignature(secret, body),
    "x-github-delivery": delivery,
    "x-github-event": "push",
    "user-agent": "GitHub-Hookshot/1",
    cookie: "private",
  };
}

describe("a webhook of GitHub", () => {
  test("is stored as it came, described as its preset says, and answered with its number", async () => {
    const { id, secret, url } = await newChannel(webhook("github"));
    const body = '{ "repository": {"full_name":"acme\\/app"}, "n": 1.0 }';
    const reply = await post(url, body, githubHeaders(secret, body, "d-1"));
    expect([reply.status, reply.text, reply.headers.get("x-qe-seq")]).toEqual([
      200,
      JSON.stringify({ channel: id, seq: 1 }),
      "1",
    ]);
    const [event] = await logs.read(id);
    expect(event).toMatchObject({
      ...{ id: "d-1", source: "https://github.com", type: "push", subject: "acme/app", verified: "github" },
      contentType: "application/json",
      extensions: { useragent: "GitHub-Hookshot/1", xgithubdelivery: "d-1", xgithubevent: "push" },
    });
    expect(event?.data?.toString()).toBe(body);
    expect(JSON.stringify(event)).not.toContain("private");
  });

  test("that is sent again has the number of the first, and one that only claims its id is stored", async () => {
    const { id, secret, url } = await newChannel(webhook("github"));
    for (const [body, seq] of [
      ["{}", 1],
      ["{}", 1],
      ['{"other":1}', 2],
    ] as const) {
      const reply = await post(url, body, githubHeaders(secret, body, "d-1"));
      expect(JSON.parse(reply.text)).toEqual({ channel: id, seq });
    }
    expect(await logs.read(id)).toHaveLength(2);
  });

  test("is stored byte for byte also if it is no UTF-8, or empty", async () => {
    const { id, secret, url } = await newChannel(webhook("github"));
    const bytes = Buffer.from([0xff, 0x00, 0xfe]);
    await post(url, bytes, githubHeaders(secret, bytes, "d-1"));
    await post(url, "", githubHeaders(secret, "", "d-2"));
    const [binary, empty] = await logs.read(id);
    expect([binary?.data, empty?.data]).toEqual([bytes, undefined]);
  });

  test("is refused without a word of why, and nothing is stored", async () => {
    const { id, secret, url } = await newChannel(webhook("github"));
    const right = githubHeaders(secret, "{}", "d-1");
    const refusals = [
      await post(url, "{}"),
      await post(url, '{"changed":1}', right),
      await post(url, "{}", { ...right, "x-hub-signature-256": githubSignature("other", "{}") }),
    ];
    expect(new Set(refusals.map(({ text }) => text)).size).toBe(1);
    expect(refusals.map(({ status }) => status)).toEqual([401, 401, 401]);
    expect(await logs.read(id)).toEqual([]);
  });

  test("with an id of ten thousand characters is refused by name", async () => {
    const { secret, url } = await newChannel(webhook("github"));
    const reply = await post(url, "{}", githubHeaders(secret, "{}", "x".repeat(10_000)));
    expect([reply.status, reply.text]).toEqual([400, expect.stringContaining("id: has 10000 characters")]);
  });
});

test("over HTTP/2 a webhook is stored as well, and one whose signature stands in two lines is not", async () => {
  const { id, secret, url } = await newChannel(webhook("github"));
  const right = githubHeaders(secret, "{}", "d-1");
  const session = connectHttp2(service.url);
  const send = async (signature: string | string[]) => {
    const head = {
      ":method": "POST",
      ":path": new URL(url).pathname,
      ...right,
      "x-hub-signature-256": signature,
    };
    const stream = session.request(head).end("{}");
    const [answer] = await once(stream, "response");
    stream.resume();
    await once(stream, "end");
    return [answer[":status"], answer["x-qe-seq"], answer["content-length"]];
  };
  const signature = right["x-hub-signature-256"];
  expect(await send(signature)).toEqual([200, "1", String(JSON.stringify({ channel: id, seq: 1 }).length)]);
  expect((await send([signature, signature]))[0]).toBe(400);
  expect((await send(["sha256=00", signature]))[0]).toBe(400);
  session.close();
  expect(await logs.read(id)).toHaveLength(1);
});

test("a sender that no preset knows is known by the scheme, and described by the places, that its channel names", async () => {
  const scheme = {
    ...{ header: "x-sig", prefix: "v1=", algorithm: "hmac-sha512", encoding: "base64" },
    ...{ signed: "{time}.{body}", timeHeader: "x-time" },
  };
  const event = { id: "/meta/id", type: "x-topic", subject: "/who", time: "/at" };
  const { id, secret, url } = await newChannel({ source: { case: "webhook", value: { scheme, event } } });
  const body = '{"meta":{"id":7},"who":"ann","at":"2026-01-31T08:00:00Z"}';
  const sendAt = (seconds: number) => {
    const time = String(Math.floor(service.clock.now().getTime() / 1000) + seconds);
    const signature = createHmac("sha512", secret).update(`${time}.${body}`).digest("base64");
    return post(url, body, { "x-sig": `v1=${signature}`, "x-time": time, "x-topic": "paid" });
  };
  expect((await sendAt(310)).status).toBe(401);
  expect((await sendAt(-310)).status).toBe(401);
  expect((await sendAt(0)).status).toBe(200);
  expect((await sendAt(-1)).headers.get("x-qe-seq")).toBe("1");
  expect(await logs.read(id)).toMatchObject([
    { id: "7", type: "paid", subject: "ann", time: "2026-01-31T08:00:00Z", verified: "generic" },
  ]);
  const { channel } = await service.org.client.channels.getChannel({ id });
  expect(channel?.source.value).toMatchObject({ preset: "generic", scheme, event });
});

test.each(["application/json", "application/x-www-form-urlencoded", "text/plain"])(
  "a secret in a body called %s is masked, and every other byte is as it came",
  async (type) => {
    const secret = "the-client-state-of-mine";
    const { id, url } = await newChannel(webhook("microsoft-graph", { secret }));
    const item = `{"clientState":"${secret}","changeType":"created"}`;
    const body = Buffer.from(`{"value":[${item}, {"clientState":"${secret}","of":"\xff"}] }`, "latin1");
    const reply = await post(url, body, { "content-type": type });
    expect([reply.status, reply.text]).toEqual([202, ""]);
    const [event] = await logs.read(id);
    expect(event?.data?.toString("latin1")).toBe(
      '{"value":[{"clientState":"***","changeType":"created"}, {"clientState":"***","of":"\xff"}] }',
    );
    expect([event?.masked, event?.type]).toEqual(["/value/*/clientState", "created"]);
  },
);

describe("a channel of CloudEvents", () => {
  const event = { specversion: "1.0", id: "e-1", source: "/shop", type: "order.paid" };
  const structured = { "content-type": "application/cloudevents+json" };
  const batched = { "content-type": "application/cloudevents-batch+json" };

  async function publisher(scopes = ["events:publish"]) {
    const { secret } = await service.org.client.apiKeys.createApiKey({ name: "publisher", scopes });
    return { authorization: `Bearer ${secret}` };
  }

  test("takes events of whoever has a key with events:publish", async () => {
    const { id, url } = await newChannel(cloudEvents());
    const bearer = await publisher();
    const body = JSON.stringify({ ...event, data: { n: 1 } });
    expect((await post(url, body, { ...structured, ...bearer })).status).toBe(200);
    const [stored] = await logs.read(id);
    expect(stored).toMatchObject({ id: "e-1", type: "order.paid", verified: "bearer" });
    expect(stored?.data?.toString()).toBe('{"n":1}');
  });

  test("takes a batch as one, and answers its numbers", async () => {
    const { id, url } = await newChannel(cloudEvents());
    const headers = { ...batched, ...(await publisher()) };
    const body = JSON.stringify([event, { ...event, id: "e-2" }, event]);
    const reply = await post(url, body, headers);
    expect([JSON.parse(reply.text), reply.headers.get("x-qe-seq")]).toEqual([
      { channel: id, seqs: [1, 2, 1] },
      "1",
    ]);
    const broken = await post(url, JSON.stringify([{ ...event, id: "e-3" }, {}]), headers);
    expect([broken.status, broken.headers.get("x-error-reason")]).toEqual([400, "INVALID_EVENT"]);
    expect(broken.text).toContain("event 1 of the batch: missing specversion, id, source, type");
    expect(await logs.read(id)).toHaveLength(2);
  });

  test.each([
    ["no key", {}, 401, "INVALID_BEARER"],
    ["a key without the scope", { scopes: ["events:view"] }, 403, "MISSING_SCOPE"],
  ])("refuses %s", async (_, { scopes }: { scopes?: string[] }, status, reason) => {
    const { url } = await newChannel(cloudEvents());
    const bearer = scopes === undefined ? {} : await publisher(scopes);
    const reply = await post(url, JSON.stringify(event), { ...structured, ...bearer });
    expect([reply.status, reply.headers.get("x-error-reason")]).toEqual([status, reason]);
  });

  test("does not exist for a key of another organisation", async () => {
    const { url } = await newChannel(cloudEvents());
    const other = await service.newOrganization("globex");
    const reply = await post(url, JSON.stringify(event), {
      ...structured,
      authorization: `Bearer ${other.secret}`,
    });
    expect(reply.status).toBe(404);
  });

  test("refuses a key in the query, which CloudEvents would allow", async () => {
    const { url } = await newChannel(cloudEvents());
    const reply = await post(`${url}?access_token=abc`, JSON.stringify(event), structured);
    expect([reply.status, reply.headers.get("x-error-reason")]).toEqual([400, "CREDENTIALS_IN_URL"]);
  });

  test("grants leave to send to an origin that it lists, and to no other that begins like it", async () => {
    const allowedOrigins = ["eventemitter.example.com"];
    const { url } = await newChannel({ source: { case: "cloudEvents", value: { allowedOrigins } } });
    const ask = (origin: string) =>
      fetch(url, { method: "OPTIONS", headers: { "webhook-request-origin": origin } });
    const granted = await ask("eventemitter.example.com");
    expect([granted.status, granted.headers.get("webhook-allowed-origin")]).toEqual([200, allowedOrigins[0]]);
    expect(granted.headers.get("webhook-allowed-rate")).toBe("6000");
    expect((await ask("eventemitter.example.com.evil.example")).status).toBe(403);
  });
});

describe("a channel that asks for no proof", () => {
  test("takes events at its whole address only, marks them, and its secret end is in no log", async () => {
    const { id, url } = await newChannel(webhook("generic", { receiver: { authentication: "none" } }));
    expect((await post(url, "{}")).status).toBe(200);
    const bare = `${service.url}/in/${id}`;
    const wrong = await Promise.all(
      [bare, `${bare}/`, `${bare}/wrong`, `${url}x`, `${service.url}/in/chn_0123456789ABCDEFGHJKMNPQRS`].map(
        (address) => post(address, "{}"),
      ),
    );
    expect(wrong.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404]);
    expect(new Set(wrong.map(({ text }) => text)).size).toBe(1);
    const events = await logs.read(id);
    expect(events.map(({ verified }) => verified)).toEqual(["none"]);
    expect(service.logged()).toContain(`/in/${id}/[redacted]`);
    expect(service.logged()).not.toContain(url.split("/").at(-1));
  });
});

test("a channel knows its sender by a token in the header of its choice, or by Basic", async () => {
  const token = await newChannel(
    webhook("generic", { receiver: { authentication: "token", tokenHeader: "X-Mine" } }),
  );
  expect((await post(token.url, "{}", { "x-mine": token.secret })).status).toBe(200);
  expect((await post(token.url, "{}", { "x-mine": `${token.secret}x` })).status).toBe(401);
  const basic = await newChannel(webhook("generic", { receiver: { authentication: "basic" } }));
  const authorization = `Basic ${Buffer.from(basic.secret).toString("base64")}`;
  expect((await post(basic.url, "{}", { authorization })).status).toBe(200);
  expect((await post(basic.url, "{}")).status).toBe(401);
});

describe("a request that is no event", () => {
  test.each([
    ["a body that is too long", "x".repeat(1025), {}, 413, "MESSAGE_TOO_LARGE"],
    ["a compressed body", "{}", { "content-encoding": "gzip" }, 415, "UNSUPPORTED_CONTENT_TYPE"],
    ["one that was sent on six times", "{}", { "x-qe-hops": "6" }, 508, "LOOP_DETECTED"],
    ["hops that are no number", "{}", { "x-qe-hops": "many" }, 400, "INVALID_REQUEST"],
  ])("is refused: %s", async (_, body, headers, status, reason) => {
    const { id, url } = await newChannel(
      webhook("generic", { receiver: { authentication: "none", maxBodyBytes: 1024 } }),
    );
    const reply = await post(url, body, headers);
    expect([reply.status, reply.headers.get("x-error-reason")]).toEqual([status, reason]);
    expect(await logs.read(id)).toEqual([]);
  });

  test("is refused by GET, where there is no handshake", async () => {
    const { url } = await newChannel(webhook("github"));
    const reply = await fetch(url);
    expect([reply.status, reply.headers.get("allow")]).toEqual([405, "POST"]);
  });
});

test("a channel answers as it was told to, and says the number in a header all the same", async () => {
  const reply = { status: 200, contentType: "text/xml", body: "<Response/>" };
  const { url } = await newChannel(webhook("generic", { receiver: { authentication: "none", reply } }));
  const answered = await post(url, "{}");
  const headers = ["content-type", "content-length", "x-qe-seq"].map((name) => answered.headers.get(name));
  expect([answered.text, ...headers]).toEqual(["<Response/>", "text/xml", "11", "1"]);
});

test("more requests a minute than a channel takes are answered 429, of known senders only", async () => {
  const { secret, url } = await newChannel(webhook("github", { receiver: { requestsPerMinute: 2 } }));
  for (let i = 0; i < 3; i++) expect((await post(url, "{}")).status).toBe(401);
  const statuses: number[] = [];
  for (const delivery of ["1", "2", "3"]) {
    statuses.push((await post(url, "{}", githubHeaders(secret, "{}", delivery))).status);
  }
  expect(statuses).toEqual([200, 200, 429]);
});

test("a deleted channel takes nothing more", async () => {
  const { id, secret, url } = await newChannel(webhook("github"));
  expect((await post(url, "{}", githubHeaders(secret, "{}", "1"))).status).toBe(200);
  await service.org.client.channels.deleteChannel({ id });
  expect((await post(url, "{}", githubHeaders(secret, "{}", "2"))).status).toBe(404);
});

test("a rotated secret is taken at once, and the previous one until its grace is over", async () => {
  const { id, secret, url } = await newChannel(webhook("github"));
  const send = async (by: string, delivery: string) =>
    (await post(url, "{}", githubHeaders(by, "{}", delivery))).status;
  expect(await send(secret, "1")).toBe(200);
  const rotated = await service.org.client.channels.rotateChannelSecret({ id, graceSeconds: 60 });
  expect(await Promise.all([send(secret, "2"), send(rotated.secret!, "3")])).toEqual([200, 200]);
  service.clock.advance(61_000);
  expect(await Promise.all([send(secret, "4"), send(rotated.secret!, "5")])).toEqual([401, 200]);
});

test("a rotated address is the only one that is taken", async () => {
  const { id, url } = await newChannel(webhook("generic", { receiver: { authentication: "none" } }));
  expect((await post(url, "{}")).status).toBe(200);
  const rotated = await service.org.client.channels.rotateChannelSecret({ id });
  expect([(await post(url, "{}")).status, (await post(rotated.url, "{}")).status]).toEqual([404, 200]);
});

test("a paused channel goes on storing what senders send", async () => {
  const { id, url } = await newChannel(webhook("generic", { receiver: { authentication: "none" } }));
  await service.org.client.channels.pauseChannel({ id });
  expect((await post(url, "{}")).status).toBe(200);
});
