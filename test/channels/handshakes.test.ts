import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const secret = "a-secret-of-the-vendor";

async function newChannel(preset: string, given = secret) {
  return service.org.client.channels.createChannel({
    name: preset,
    source: { case: "webhook", value: { preset } },
    secret: given,
  });
}

async function answerTo(url: string, init: RequestInit = {}) {
  const response = await fetch(url, init);
  return [response.status, response.headers.get("content-type"), await response.text()];
}

const post = (body: object, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  body: JSON.stringify(body),
  headers: { "content-type": "application/json", ...headers },
});
const hmac = (message: string, encoding: "hex" | "base64") =>
  createHmac("sha256", secret).update(message).digest(encoding);

function signed(prefix: string, names: [signature: string, time: string], body: object): RequestInit {
  const time = String(Math.floor(service.clock.now().getTime() / 1000));
  const text = `v0:${time}:${JSON.stringify(body)}`;
  return post(body, { [names[0]]: `${prefix}${hmac(text, "hex")}`, [names[1]]: time });
}
const slack = ["x-slack-signature", "x-slack-request-timestamp"] as [string, string];
const zoom = ["x-zm-signature", "x-zm-request-timestamp"] as [string, string];

async function lastSeqOf(id: string) {
  return (await service.org.client.channels.getChannel({ id })).channel?.lastSeq;
}

test("Slack's challenge is answered, of whoever signs it", async () => {
  const { url, channel } = await newChannel("slack");
  const body = { type: "url_verification", challenge: "abc" };
  expect(await answerTo(url, signed("v0=", slack, body))).toEqual([200, "text/plain; charset=utf-8", "abc"]);
  expect((await answerTo(url, post(body)))[0]).toBe(401);
  expect(await lastSeqOf(channel!.id)).toBe(0n);
});

test("Graph's token is answered as text, decoded once", async () => {
  const { url, channel } = await newChannel("microsoft-graph");
  const token = encodeURIComponent("<b>%41 é</b>");
  const answer = await answerTo(`${url}?validationToken=${token}`, { method: "POST" });
  expect(answer).toEqual([200, "text/plain; charset=utf-8", "<b>%41 é</b>"]);
  expect(await lastSeqOf(channel!.id)).toBe(0n);
});

test("Meta's challenge is answered to whoever shows the token that the channel was made with", async () => {
  const { url, verifyToken = "" } = await newChannel("meta");
  const ask = (token: string) =>
    answerTo(`${url}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=${token}`);
  expect(await ask(verifyToken)).toEqual([200, "text/plain; charset=utf-8", "1158201444"]);
  expect((await ask("wrong"))[0]).toBe(401);
});

test("Zoom's token is signed, and nothing that an event could be", async () => {
  const { url } = await newChannel("zoom");
  const ask = (plainToken: string) =>
    answerTo(url, signed("v0=", zoom, { event: "endpoint.url_validation", payload: { plainToken } }));
  const answer = {
    plainToken: "qgg8vlvZRS6UYooatFL8Aw",
    encryptedToken: hmac("qgg8vlvZRS6UYooatFL8Aw", "hex"),
  };
  expect(await ask(answer.plainToken)).toEqual([200, "application/json", JSON.stringify(answer)]);
  expect((await ask(`v0:1:{"event":"forged"}`))[2]).not.toContain("encryptedToken");
});

test("X's token is signed, and nothing that an event could be", async () => {
  const { url } = await newChannel("x");
  const answer = { response_token: `sha256=${hmac("a-B_9", "base64")}` };
  expect(await answerTo(`${url}?crc_token=a-B_9`)).toEqual([200, "application/json", JSON.stringify(answer)]);
  const forged = encodeURIComponent('{"for_user_id":"1"}');
  expect((await answerTo(`${url}?crc_token=${forged}`))[0]).toBe(405);
  const headers = { "x-twitter-webhooks-signature": answer.response_token };
  expect((await answerTo(url, { method: "POST", body: "a-B_9", headers }))[0]).toBe(401);
});

test("Okta's challenge is answered", async () => {
  const { url } = await newChannel("okta");
  const headers = { "x-okta-verification-challenge": "abc" };
  expect(await answerTo(url, { headers })).toEqual([200, "application/json", '{"verification":"abc"}']);
});

test("Event Grid's code is answered", async () => {
  const { url } = await newChannel("event-grid");
  const body = [
    { eventType: "Microsoft.EventGrid.SubscriptionValidationEvent", data: { validationCode: "c" } },
  ];
  const answer = await answerTo(url, post(body, { "aeg-event-type": "SubscriptionValidation" }));
  expect(answer).toEqual([200, "application/json", '{"validationResponse":"c"}']);
});

test("Discord's pings are answered to whoever signs them", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const der = publicKey.export({ format: "der", type: "spki" });
  const { url } = await newChannel("discord", der.subarray(-32).toString("hex"));
  const ask = (body: object) => {
    const time = String(Math.floor(service.clock.now().getTime() / 1000));
    const signature = sign(null, Buffer.from(time + JSON.stringify(body)), privateKey).toString("hex");
    const headers = { "x-signature-ed25519": signature, "x-signature-timestamp": time };
    return answerTo(url, post(body, headers));
  };
  expect(await ask({ type: 1 })).toEqual([200, "application/json", '{"type":1}']);
  expect((await ask({ type: 0 }))[0]).toBe(204);
  expect((await answerTo(url, post({ type: 1 })))[0]).toBe(401);
});

test("no vendor's handshake is answered for another's channel", async () => {
  const { url } = await newChannel("github");
  const attempts = await Promise.all([
    answerTo(`${url}?validationToken=a`, { method: "POST" }),
    answerTo(`${url}?crc_token=a`),
    answerTo(`${url}?hub.mode=subscribe&hub.challenge=a&hub.verify_token=`),
    answerTo(url, { headers: { "x-okta-verification-challenge": "a" } }),
    answerTo(url, post([{ data: { validationCode: "a" } }], { "aeg-event-type": "SubscriptionValidation" })),
    answerTo(url, { method: "OPTIONS", headers: { "webhook-request-origin": "a" } }),
  ]);
  expect(attempts.map(([status]) => status)).toEqual([401, 405, 405, 405, 401, 405]);
});
