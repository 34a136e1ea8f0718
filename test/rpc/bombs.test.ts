import http from "node:http";
import { setImmediate } from "node:timers/promises";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { residentMib, startProcess } from "../support/flood.ts";
import { createTestDatabase } from "../support/postgres.ts";

const budgetMib = 64;
const mebibyte = 1024 * 1024;

/** As long as a message may be: an empty one, and spaces. */
const message = Buffer.alloc(4 * mebibyte, " ").fill("{}", 0, 2);
const widestWindow = { [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS };

test.skipIf(process.platform !== "linux").each([
  ["the lane", "on", "br", brotliCompressSync(message, { params: widestWindow })],
  ["Connect", "off", "gzip", gzipSync(message)],
] as const)(
  "few bytes of which many come out cost no more than the budget, by %s (%s), in %s",
  async (_, unaryLane, coding, bomb) => {
    await using database = await createTestDatabase("empty");
    await using running = await startProcess(database.url, budgetMib, ["--unary-lane", unaryLane]);
    const { service, url, admin } = running;
    const agent = new http.Agent({ keepAlive: false });
    const send = () => statusOf(agent, url, admin.secret, coding, bomb);
    // What the first call loads is no part of it.
    expect(await send()).toBe(200);
    const before = await residentMib(service);
    let peak = before;
    const sent = Promise.all(Array.from({ length: 30 }, send));
    const isOver = sent.then(() => true);
    while (!(await Promise.race([isOver, setImmediate(false)]))) {
      peak = Math.max(peak, await residentMib(service));
    }
    expect(new Set(await sent).difference(new Set([200, 429]))).toStrictEqual(new Set());
    expect(peak - before).toBeLessThan(budgetMib + 128);
    // All of it is given back.
    expect(await send()).toBe(200);
    expect(service.stdout()).not.toContain('"level":50');
  },
);

function statusOf(agent: http.Agent, url: string, secret: string, coding: string, body: Buffer) {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const asked = http.request(`${url}/patchbay.apikeys.v1.ApiKeyService/WhoAmI`, {
    agent,
    method: "POST",
    headers: {
      authorization: `Bearer ${secret}`,
      "content-type": "application/json",
      "content-encoding": coding,
    },
  });
  asked.on("response", (response) => response.resume().on("end", () => resolve(response.statusCode)));
  asked.on("error", reject);
  asked.end(body);
  return promise;
}
