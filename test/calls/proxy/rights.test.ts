import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newId } from "#src/platform/ids.ts";
import { proxyPath, readAll, slug, startProxied } from "./support.ts";

let running: Awaited<ReturnType<typeof startProxied>>;
beforeAll(async () => {
  running = await startProxied();
});
afterAll(() => running[Symbol.asyncDispose]());

/** A key that is limited to these connections. */
async function keyFor(...rights: object[]) {
  const wanted = { name: "k", scopes: ["connections:use"], connections: { rights } };
  const { status, body } = await running.service.org.rest("POST", "/api/api-keys", wanted);
  expect(status).toBe(201);
  return { id: body.data.apiKey.id as string, secret: body.data.secret as string };
}

async function takeRights({ id }: { id: string }): Promise<void> {
  const taken = await running.service.org.rest("PATCH", `/api/api-keys/${id}`, {
    connections: { rights: [] },
  });
  expect(taken.status).toBe(200);
}

/** Sends the path as it is written here; a URL would repair it first. */
function begin(
  { secret }: { secret: string },
  path: string,
  method = "GET",
  headers: Record<string, string> = {},
) {
  const { hostname, port } = new URL(running.service.url);
  const authorization = `Bearer ${secret}`;
  const all = { ...headers, authorization };
  const request = httpRequest({ hostname, port, path, method, agent: false, headers: all });
  const response = once(request, "response").then(([answer]) => answer as IncomingMessage);
  return { request, response };
}

async function told(answer: IncomingMessage) {
  return [answer.statusCode, answer.headers["x-error-reason"], (await readAll(answer)).text];
}

async function ask(key: { secret: string }, path: string, method = "GET") {
  const { request, response } = begin(key, path, method);
  request.end();
  return told(await response);
}

describe("a key that is limited to GET below /v1", () => {
  const limited = () => keyFor({ slug, methods: ["GET"], pathPrefixes: ["/v1"] });

  test.each(["/v1", "/v1/", "/v1/a%2Fb", "/v1?v=2", "/v1//x"])("is passed on to %s", async (path) => {
    running.upstream.serve((_request, response) => response.end("here"));
    const key = await limited();
    expect(await ask(key, proxyPath(path))).toEqual([200, undefined, "here"]);
    expect(running.upstream.asked.at(-1)?.url).toBe(`/base${path}`);
    expect(await ask(key, proxyPath(path, running.connectionId))).toEqual([200, undefined, "here"]);
  });

  test.each([
    ...[
      "",
      "/",
      "?/v1",
      "/v10",
      "/v2",
      "/V1",
      "/%761",
      "/v%31/x",
      "/v1%2Fx",
      "/v1%2f..%2fv2",
      "/v1;x",
      "/v1;/x",
    ],
    ...["//v1", "/./v1", "/v1/../v2", "/v1/%2e%2e/v2", "/v1/.%2E/v2", "/v1/..%2fv2", "/v1/%252e%252e/v2"],
    ...["/v1/..;/v2", "/v1/..%5cv2", "/v1/%c0%ae%c0%ae/v2", "/v1/%ef%bc%8e%ef%bc%8e/v2", "/v1/../../admin"],
  ])("is not passed on to %j", async (path) => {
    const asked = running.upstream.asked.length;
    const [status, reason] = await ask(await limited(), proxyPath(path));
    expect([status, reason]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
    expect(running.upstream.asked).toHaveLength(asked);
  });

  test.each(["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])("sends no %s", async (method) => {
    const asked = running.upstream.asked.length;
    const [status, reason] = await ask(await limited(), proxyPath("/v1"), method);
    expect([status, reason]).toEqual([403, "CONNECTION_NOT_ALLOWED"]);
    expect(running.upstream.asked).toHaveLength(asked);
  });

  test("does not make a service take another method or path by a header", async () => {
    running.upstream.serve((_request, response) => response.end("here"));
    const steering = {
      ...{ "x-http-method-override": "DELETE", "x-http-method": "DELETE", "x-method-override": "DELETE" },
      ...{
        "x-original-url": "/admin",
        x_rewrite_url: "/admin",
        "x-original-uri": "/admin",
        "x-override-url": "/admin",
        "x-kept": "kept",
      },
    };
    const { request, response } = begin(await limited(), proxyPath("/v1"), "GET", steering);
    request.end();
    expect((await told(await response))[0]).toBe(200);
    const names = Object.keys(running.upstream.asked.at(-1)?.headers ?? {});
    expect(names.filter((name) => name.startsWith("x"))).toEqual(["x-kept"]);
  });
});

test("a connection that a key's rights leave out is answered as one that does not exist", async () => {
  const key = await keyFor({ slug: "aml" });
  const asked = running.upstream.asked.length;
  const missing = await ask(key, proxyPath("/v1", "custom:nothing"));
  expect(missing.slice(0, 2)).toEqual([404, "NOT_FOUND"]);
  expect(await ask(key, proxyPath("/v1"))).toEqual(missing);
  const missingId = await ask(key, proxyPath("/v1", newId("scn", new Date())));
  expect(await ask(key, proxyPath("/v1", running.connectionId))).toEqual(missingId);
  expect(running.upstream.asked).toHaveLength(asked);
});

describe("rights that a key loses", () => {
  test("while it sends its body are lost to that request", async () => {
    const key = await keyFor({ slug });
    const asked = running.upstream.asked.length;
    const { request, response } = begin(key, proxyPath("/v1"), "POST", { "content-length": "2" });
    request.write("a");
    // Answered after the first one has passed the gate.
    expect((await ask(key, proxyPath("/v1")))[0]).toBe(200);
    await takeRights(key);
    request.end("b");
    expect((await told(await response)).slice(0, 2)).toEqual([404, "NOT_FOUND"]);
    expect(running.upstream.asked).toHaveLength(asked + 1);
  });

  test("while it is answered end the answer", { timeout: 120_000 }, async () => {
    const key = await keyFor({ slug });
    running.upstream.serve((_request, response) => void response.writeHead(200).write("first"));
    const { request, response } = begin(key, proxyPath("/feed"));
    request.end();
    const answer = await response;
    answer.on("error", () => {}).resume();
    const closed = new Promise((resolve) => answer.once("close", resolve));
    await takeRights(key);
    await closed;
    expect([answer.statusCode, answer.complete]).toEqual([200, false]);
  });
});
