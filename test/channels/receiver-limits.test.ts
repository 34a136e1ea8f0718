import { afterAll, beforeAll, expect, test } from "vitest";
import { newAnswerTime } from "#src/channels/answer-time.ts";
import { SenderTooSlow } from "#src/channels/errors.ts";
import { within } from "#src/platform/within.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService({ limits: { failuresPerMinute: 3 } });
});
afterAll(() => service[Symbol.asyncDispose]());

async function newChannel(authentication: string, secret?: string) {
  const { url } = await service.org.client.channels.createChannel({
    name: "test",
    source: { case: "webhook", value: {} },
    receiver: { authentication },
    ...(secret !== undefined && { secret }),
  });
  return url;
}

const post = (url: string, headers: Record<string, string> = {}) =>
  fetch(url, { method: "POST", body: "{}", headers });

const never = new Promise<never>(() => {});

test("a body that does not come is not waited for", async () => {
  const late = () => new SenderTooSlow(10);
  await expect(within(10, never, late)).rejects.toMatchObject({ reason: "SENDER_TOO_SLOW" });
  expect(await within(10, Promise.resolve("body"), late)).toBe("body");
});

test("a channel or a key that cannot be looked up in time is not waited for either", async () => {
  const late = { reason: "INTAKE_UNAVAILABLE", kind: "unavailable" };
  await expect(newAnswerTime(10).before(never)).rejects.toMatchObject(late);
  expect(await newAnswerTime(10).before(Promise.resolve("channel"))).toBe("channel");
});

test("whoever tries wrong tokens is limited by its address, and a right one with it", async () => {
  const url = await newChannel("token", "the-right-token");
  const statuses: number[] = [];
  for (const token of ["a", "b", "c", "d", "the-right-token"]) {
    statuses.push((await post(url, { "x-webhook-token": token })).status);
  }
  expect(statuses).toEqual([401, 401, 401, 429, 429]);
  service.clock.advance(60_000);
  expect((await post(url, { "x-webhook-token": "the-right-token" })).status).toBe(200);
});

test("wrong tokens that a vendor is made to send to one channel do not shut it out of another", async () => {
  service.clock.advance(60_000);
  const [theirs, ours] = [
    await newChannel("token", "their-token"),
    await newChannel("token", "our-own-token"),
  ];
  for (let i = 0; i < 5; i++) await post(theirs, { "x-webhook-token": "wrong" });
  expect((await post(theirs, { "x-webhook-token": "their-token" })).status).toBe(429);
  expect((await post(ours, { "x-webhook-token": "our-own-token" })).status).toBe(200);
});

test("whoever tries addresses of channels is limited, and who sends to one that is there is not", async () => {
  service.clock.advance(60_000);
  const url = await newChannel("none");
  const statuses: number[] = [];
  for (const end of ["A", "B", "C", "D"]) {
    statuses.push((await post(`${service.url}/in/chn_0123456789ABCDEFGHJKMNPQR${end}`)).status);
  }
  expect(statuses).toEqual([404, 404, 404, 429]);
  expect((await post(url)).status).toBe(200);
});

test("wrong requests to channels do not shut out the keys that are used at the same address", async () => {
  service.clock.advance(60_000);
  const url = await newChannel("signature");
  for (let i = 0; i < 5; i++) await post(url, { "x-signature": "00" });
  const { secret } = await service.org.client.apiKeys.createApiKey({ name: "cold", scopes: ["audit:view"] });
  const { status } = await service.as(secret).rest("GET", "/api/audit/events");
  expect(status).toBe(200);
});
