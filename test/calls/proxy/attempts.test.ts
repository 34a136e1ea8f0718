import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiKey, proxyPath, slug, startProxied } from "./support.ts";

let running: Awaited<ReturnType<typeof startProxied>>;
beforeAll(async () => {
  running = await startProxied();
});
afterAll(() => running[Symbol.asyncDispose]());

/** Makes a call to a service that answers these statuses, one after the other, and 200 from then on. */
async function callThrough(statuses: readonly number[], init: RequestInit = {}) {
  const { service, upstream } = running;
  const left = [...statuses];
  const before = upstream.asked.length;
  const bodies: string[] = [];
  upstream.serve((request, response) => {
    let body = "";
    request.on("data", (data: Buffer) => (body += data.toString()));
    request.on("end", () => {
      bodies.push(body);
      response.writeHead(left.shift() ?? 200, { "retry-after": "0" }).end("an answer");
    });
  });
  const reply = await fetch(service.url + proxyPath("/x"), {
    ...init,
    headers: {
      authorization: `Bearer ${service.org.secret}`,
      ...Object.fromEntries(new Headers(init.headers)),
    },
  });
  await reply.text();
  const asked = upstream.asked.slice(before).map(({ headers }) => headers.authorization);
  return { status: reply.status, attempts: reply.headers.get("x-patchbay-attempts"), asked, bodies };
}

const streamed = () => ({ body: new Blob(["a body"]).stream(), duplex: "half" as const });
const named = { "idempotency-key": "a-name" };

describe("after a 503, a call is made once more", () => {
  test.each<[string, RequestInit]>([
    ["by GET", {}],
    ["by POST with an Idempotency-Key", { method: "POST", body: "a body", headers: named }],
  ])("%s", async (_, init) => {
    const { status, attempts, bodies } = await callThrough([503], init);
    expect([status, attempts]).toEqual([200, "2"]);
    expect(bodies).toEqual([init.body ?? "", init.body ?? ""]);
  });

  test("and not more often", async () => {
    expect(await callThrough([503, 503])).toMatchObject({ status: 503, attempts: "2" });
  });
});

describe("a call is not made twice", () => {
  test.each<[string, number, () => RequestInit]>([
    ["that streamed its body", 503, () => ({ method: "POST", headers: named, ...streamed() })],
    ["by POST without a name", 503, () => ({ method: "POST", body: "a body" })],
    ["that was told to be slower", 429, () => ({})],
    ["that was refused, and has no other credential", 401, () => ({})],
  ])("%s", async (_, status, init) => {
    expect(await callThrough([status], init())).toMatchObject({ status, attempts: "1" });
  });
});

describe("after a rotation with a fallback, a call that is refused", () => {
  beforeAll(async () => {
    await running.service.org.client.connections.upsertServiceConnection({
      serviceSlug: slug,
      baseUrl: `${running.upstream.url}/base`,
      apiKey: "another-key-of-the-upstream-9876543210",
      fallbackSeconds: 3_600,
    });
  });
  const both = ["Bearer another-key-of-the-upstream-9876543210", `Bearer ${apiKey}`];

  test("is made once more with the previous credential", async () => {
    expect(await callThrough([401], { method: "POST", body: "a body" })).toEqual({
      status: 200,
      attempts: "2",
      asked: both,
      bodies: ["a body", "a body"],
    });
  });

  test("is answered with the second refusal, if there is one", async () => {
    expect(await callThrough([401, 401])).toMatchObject({ status: 401, attempts: "2", asked: both });
  });

  test("stays refused if its body was streamed", async () => {
    expect(await callThrough([401], { method: "POST", ...streamed() })).toMatchObject({
      status: 401,
      attempts: "1",
    });
  });
});
