import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiKey, open, proxyPath, readAll, startProxied, until } from "./support.ts";

let running: Awaited<ReturnType<typeof startProxied>>;
beforeAll(async () => {
  running = await startProxied();
});
afterAll(() => running[Symbol.asyncDispose]());

async function ask() {
  const { request, response } = open(running.service, proxyPath("/echo"));
  request.end();
  const answer = await response;
  return { status: answer.statusCode, headers: answer.headers, ...(await readAll(answer)) };
}

const filler = "x".repeat(100_000);

describe("an answer that repeats the credential is withheld:", () => {
  test.each<[string, (response: ServerResponse) => unknown]>([
    ["a short one", (response) => response.end(`you sent ${apiKey}`)],
    ["one in chunks", (response) => response.writeHead(200).end(JSON.stringify({ a: apiKey }))],
    ["one of an announced length, in two parts", (response) => {
        response.writeHead(200, { "content-length": String(apiKey.length) });
        response.write(apiKey.slice(0, 10), () => setImmediate(() => response.end(apiKey.slice(10))));
      }], // prettier-ignore
    ["in base64", (response) => response.end(Buffer.from(`Bearer ${apiKey}`).toString("base64"))],
    ["in gzip", (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(apiKey))],
    ["in a header", (response) => response.writeHead(200, { location: `/?k=${apiKey}` }).end(filler)],
  ])("%s", async (_, answer) => {
    running.upstream.serve((_request, response) => void answer(response));
    const { status, headers, text } = await ask();
    expect([status, headers["x-error-reason"]]).toEqual([502, "CREDENTIAL_REFLECTED"]);
    expect(headers["x-patchbay-source"]).toBe("patchbay");
    expect(JSON.stringify(headers) + text).not.toContain(apiKey);
  });
});

describe("an answer of which some was passed on is cut:", () => {
  const half = apiKey.length / 2;

  test.each<[string, (response: ServerResponse) => unknown]>([
    ["within a piece", (response) => response.end(`${filler}${apiKey}${filler}`)],
    ["over the border of two pieces", (response) => {
        response.write(filler + apiKey.slice(0, half));
        setImmediate(() => response.end(apiKey.slice(half) + filler));
      }], // prettier-ignore
    ["at its very end", (response) => response.end(`${filler}${apiKey}`)],
    ["in a trailer", (response) => {
        response.writeHead(200, { trailer: "x-echo" }).write(filler);
        response.addTrailers({ "x-echo": apiKey });
        response.end();
      }], // prettier-ignore
  ])("%s", async (_, answer) => {
    running.upstream.serve((_request, response) => void answer(response));
    const { isWhole, text } = await ask();
    expect(isWhole).toBe(false);
    // Nor most of it, at the border.
    expect(text).not.toContain(apiKey.slice(0, half));
  });
});

test("an event that repeats the credential does not come, and those before it do", async () => {
  const begun = Promise.withResolvers<ServerResponse>();
  running.upstream.serve((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    begun.resolve(response);
  });
  const { request, response } = open(running.service, proxyPath("/events"));
  request.end();
  const [answer, sender] = await Promise.all([response, begun.promise]);
  sender.write("data: fine\n\n");
  expect(String((await once(answer, "data"))[0])).toBe("data: fine\n\n");
  const rest = readAll(answer);
  sender.write(`data: ${apiKey}\n\n`);
  expect(await rest).toEqual({ text: "", isWhole: false });
});

test("a gzip stream passes as it is", async () => {
  const body = gzipSync(filler + JSON.stringify(process.versions));
  running.upstream.serve((_request, response) => {
    response.writeHead(200, { "content-encoding": "gzip" });
    for (let at = 0; at < body.length; at += 100) response.write(body.subarray(at, at + 100));
    response.end();
  });
  const { text, isWhole, headers } = await ask();
  expect([isWhole, headers["content-encoding"]]).toEqual([true, "gzip"]);
  expect(Buffer.from(text, "latin1").equals(body)).toBe(true);
});

test("a bomb that says to be gzip is not passed on", async () => {
  running.upstream.serve((_request, response) => {
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(64 * 1024 * 1024)));
  });
  const { status, headers } = await ask();
  expect([status, headers["x-error-reason"]]).toEqual([502, "UPSTREAM_TOO_LARGE"]);
});

test("what was found is in the audit log, once a minute for a connection", async () => {
  running.upstream.serve((_request, response) => response.end(apiKey));
  running.service.clock.advance(61_000);
  await ask();
  await ask();
  running.service.clock.advance(61_000);
  await ask();
  const { audit } = running.service.org.client;
  const recorded = async () =>
    (await audit.listAuditEvents({ action: "connection.reflected", target: running.connectionId })).events;
  await until(async () => Number((await recorded())[0]?.details?.["suppressed"]) === 1);
  const [last, before] = await recorded();
  expect(last?.details).toMatchObject({ upstreamStatus: 200, calledBy: running.service.org.apiKeyId });
  expect(before?.details).toMatchObject({ upstreamStatus: 200 });
  expect(JSON.stringify([last?.details, before?.details])).not.toContain(apiKey);
});
