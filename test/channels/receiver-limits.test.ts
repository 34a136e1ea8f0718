import { afterAll, beforeAll, expect, test } from "vitest";
import { within } from "#src/channels/within.ts";
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

test("a body that does not come is not waited for", async () => {
  const never = new Promise<never>(() => {});
  await expect(within(0.01, never)).rejects.toMatchObject({ reason: "SENDER_TOO_SLOW" });
  expect(await within(0.01, Promise.resolve("body"))).toBe("body");
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

test("whoever tries addresses of channels is limited, too", async () => {
  service.clock.advance(60_000);
  const statuses: number[] = [];
  for (const end of ["A", "B", "C", "D"]) {
    statuses.push((await post(`${service.url}/in/chn_0123456789ABCDEFGHJKMNPQR${end}`)).status);
  }
  expect(statuses).toEqual([404, 404, 404, 429]);
});
