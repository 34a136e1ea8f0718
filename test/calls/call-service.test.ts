import { Code, ConnectError, type CallOptions } from "@connectrpc/connect";
import { createServer, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
const apiKey = "the-siblings-own-key";

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  await service.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:core-banking",
    baseUrl: `${upstream.url}/base`,
    apiKey,
  });
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});
beforeEach(() => upstream.answer({}));

function call(body: Record<string, unknown>) {
  return service.org.rest("POST", "/api/service-calls", {
    service: "custom:core-banking",
    method: "GET",
    path: "/x",
    ...body,
  });
}

test("the call arrives with the stored key, and the caller never sees it", async () => {
  upstream.answer({
    status: 201,
    headers: { "content-type": "application/json", "x-kind": "a" },
    body: '{"id":7}',
  });
  const reply = await call({
    method: "POST",
    path: "/accounts/a%2Fb",
    query: { q: "ä b", n: [1, true] },
    json: { a: 1 },
  });
  expect(reply.status).toBe(200);
  expect(reply.body).toStrictEqual({
    data: {
      status: 201,
      headers: expect.objectContaining({ "x-kind": "a", "content-type": "application/json" }) as object,
      latencyMs: expect.any(Number) as number,
      json: { id: 7 },
    },
  });
  const asked = upstream.asked.at(-1)!;
  expect(asked).toMatchObject({ method: "POST", body: '{"a":1}' });
  expect(asked.url).toBe("/base/accounts/a%2Fb?q=%C3%A4%20b&n=1&n=true");
  expect(asked.headers).toMatchObject({
    authorization: `Bearer ${apiKey}`,
    "content-type": "application/json",
  });
  expect(JSON.stringify(reply.body) + service.logged()).not.toContain(apiKey);
});

describe("a call without a path", () => {
  test.each([
    ["the base URL itself", undefined, undefined, "/base"],
    ["the base URL itself, by an empty path", "", undefined, "/base"],
    ["the base URL with a query", "", { q: "1" }, "/base?q=1"],
  ])("asks for %s", async (_, path, query, url) => {
    const reply = await service.org.rest("POST", "/api/service-calls", {
      service: "custom:core-banking",
      method: "POST",
      ...(path !== undefined && { path }),
      ...(query && { query }),
      json: {},
    });
    expect(reply.body.data).toMatchObject({ status: 200 });
    expect(upstream.asked.at(-1)).toMatchObject({ method: "POST", url });
  });

  test("asks for / where the base URL has none either", async () => {
    const baseUrl = upstream.url;
    await service.org.client.connections.upsertServiceConnection({
      serviceSlug: "custom:root",
      baseUrl,
      apiKey,
    });
    await service.org.client.connections.callService({ service: "custom:root", method: "GET" });
    expect(upstream.asked.at(-1)).toMatchObject({ url: "/" });
  });
});

test("the caller's own credentials and hop-by-hop headers do not go along", async () => {
  await call({
    headers: {
      Authorization: "Bearer mine",
      Cookie: "a=b",
      Host: "evil.example",
      Connection: "x-drop",
      "X-Drop": "1",
      "Proxy-Authorization": "Basic x",
      Accept: "text/plain",
    },
  });
  const { headers } = upstream.asked.at(-1)!;
  expect(headers).toMatchObject({ authorization: `Bearer ${apiKey}`, accept: "text/plain" });
  expect(headers.host).toBe(new URL(upstream.url).host);
  for (const name of ["cookie", "x-drop", "proxy-authorization"]) expect(headers).not.toHaveProperty(name);
});

test("lastUsedAt moves with a call, whatever it answers", async () => {
  upstream.answer({ status: 500 });
  const before = service.clock.now();
  await call({});
  const { connections } = await service.org.client.connections.listConnections({});
  expect(Number(connections[0]!.lastUsedAt!.seconds)).toBeGreaterThanOrEqual(
    Math.floor(before.getTime() / 1000),
  );
});

describe("a call that got no answer", () => {
  let serial = 0;
  async function lastUsedAfterCall(baseUrl: string, options?: CallOptions) {
    const serviceSlug = `custom:unanswered-${serial++}`;
    const { connections } = service.org.client;
    const { connection } = await connections.upsertServiceConnection({ serviceSlug, baseUrl, apiKey });
    const { id } = connection!;
    await expect(connections.callService({ service: serviceSlug, method: "GET" }, options)).rejects.toThrow();
    // A read writes first what calls noted.
    return (await connections.getConnection({ id })).connection!.lastUsedAt;
  }

  test("counts as a use once it was sent", async () => {
    await using silent = await startSilent();
    expect(await lastUsedAfterCall(silent.url, { timeoutMs: 1_000 })).toBeDefined();
  });

  test("is no use of the connection when the service could not be connected to", async () => {
    expect(await lastUsedAfterCall("http://127.0.0.1:1")).toBeUndefined();
  });

  test("is no use of the connection when its time was up before it was sent", async () => {
    // Over TLS, nothing is sent before the silent server has spoken.
    await using silent = await startSilent();
    const url = silent.url.replace("http:", "https:");
    expect(await lastUsedAfterCall(url, { timeoutMs: 1_000 })).toBeUndefined();
  });
});

describe("bodies", () => {
  test.each([
    ["JSON", "application/json", '{"a":[1,2.5,"x",null]}', { json: { a: [1, 2.5, "x", null] } }],
    [
      "JSON with an integer beyond 2^53, which stays text",
      "application/json",
      '{"id":9007199254740993}',
      { text: '{"id":9007199254740993}' },
    ],
    ["JSON with __proto__", "application/json", '{"__proto__":{}}', { json: JSON.parse('{"__proto__":{}}') }],
    [
      "JSON with a member that is given twice, as text",
      "application/json",
      '{"a":1,"a":2}',
      { text: '{"a":1,"a":2}' },
    ],
    [
      "text in the charset that it declares",
      "text/plain; charset=iso-8859-1",
      Buffer.from([0xc3, 0xa9]),
      { text: "Ã©" },
    ],
    [
      "JSON in UTF-16",
      "application/json; charset=utf-16le",
      Buffer.from('{"é":1}', "utf16le"),
      { json: { é: 1 } },
    ],
    ["broken JSON, which stays text", "application/json", "{", { text: "{" }],
    ["text", "text/html; charset=utf-8", "<p>ä</p>", { text: "<p>ä</p>" }],
    ["bytes that are no UTF-8, as base64", "text/plain", Buffer.from([0xff, 0xfe]), { raw: "//4=" }],
    ["other types, as base64", "image/png", Buffer.from([1, 2]), { raw: "AQI=" }],
  ])("answer %s", async (_, type, body, expected) => {
    upstream.answer({ headers: { "content-type": type }, body });
    expect((await call({})).body.data).toMatchObject(expected);
  });

  test("are inflated, and say nothing any more of their encoding", async () => {
    upstream.answer({
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
      body: gzipSync('{"zipped":true}'),
    });
    const { data } = (await call({})).body;
    expect(data.json).toStrictEqual({ zipped: true });
    expect(data.headers).not.toHaveProperty("content-encoding");
  });

  test("of a request may be JSON, text or bytes, each with its type unless the caller names one", async () => {
    await call({ method: "POST", text: "a,b" });
    await call({ method: "POST", raw: "AQI=" });
    await call({ method: "POST", text: "<a/>", headers: { "Content-Type": "application/xml" } });
    expect(
      upstream.asked.slice(-3).map(({ headers, body }) => [headers["content-type"], body]),
    ).toStrictEqual([
      ["text/plain; charset=utf-8", "a,b"],
      ["application/octet-stream", "\u0001\u0002"],
      ["application/xml", "<a/>"],
    ]);
  });
});

describe("a call is refused", () => {
  test.each([
    ["a service that is not connected", { service: "custom:nobody" }, 404, "NOT_FOUND"],
    ["a path without a slash", { path: "x" }, 400, "INVALID_PATH"],
    ["a path that climbs", { path: "/../admin" }, 400, "INVALID_PATH"],
    ["a path that climbs when decoded twice", { path: "/%252e%252e/admin" }, 400, "INVALID_PATH"],
    ["a path that names another host", { path: "//evil.example/" }, 400, "INVALID_PATH"],
    ["a query in the path", { path: "/a?b=c" }, 400, "INVALID_PATH"],
    ["a method that is none of ours", { method: "TRACE" }, 400, "INVALID_REQUEST"],
    ["a header that breaks the line", { headers: { "x-a": "1\r\nx-b: 2" } }, 400, "INVALID_OUTBOUND_REQUEST"],
    ["a query that is an object", { query: { a: { b: 1 } } }, 400, "INVALID_OUTBOUND_REQUEST"],
    ["two bodies", { text: "a", json: {} }, 400, "INVALID_REQUEST"],
    ["NUL in a text", { headers: { "x-a": "\u0000" } }, 400, "INVALID_REQUEST"],
  ])("for %s", async (_, change, status, reason) => {
    const before = upstream.asked.length;
    const reply = await call(change);
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([status, reason]);
    expect(upstream.asked).toHaveLength(before);
  });

  test("when the service cannot be reached, with 502", async () => {
    await service.org.client.connections.upsertServiceConnection({
      serviceSlug: "custom:down",
      baseUrl: "http://127.0.0.1:1",
      apiKey,
    });
    const reply = await call({ service: "custom:down" });
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([502, "UPSTREAM_UNREACHABLE"]);
  });

  test("when the answer repeats the key, in the clear or encoded", async () => {
    for (const echoed of [apiKey, Buffer.from(apiKey).toString("base64"), encodeURIComponent(apiKey)]) {
      upstream.answer({ headers: { "content-type": "text/plain" }, body: `you sent ${echoed}.` });
      const reply = await call({});
      expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([
        502,
        "CREDENTIAL_REFLECTED",
      ]);
      expect(JSON.stringify(reply.body)).not.toContain(echoed);
    }
  });

  test("when the caller's deadline passes, on every protocol in time", async () => {
    await using silent = await startSilent();
    await service.org.client.connections.upsertServiceConnection({
      serviceSlug: "custom:silent",
      baseUrl: silent.url,
      apiKey,
    });
    const asking = service.org.client.connections.callService(
      { service: "custom:silent", method: "GET", path: "/" },
      { timeoutMs: 300 },
    );
    await expect(asking).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });
});

test("calls of one organisation that hang delay no other's calls to the host, and no test of a connection", async () => {
  const hanging: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === "/hang") hanging.push(response);
    else response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const globex = await service.newOrganization("globex");
  const shared = { serviceSlug: "custom:shared", baseUrl, apiKey };
  const { connection } = await service.org.client.connections.upsertServiceConnection(shared);
  await globex.client.connections.upsertServiceConnection(shared);

  let ended = 0;
  const calls = Array.from({ length: 100 }, () =>
    call({ service: "custom:shared", path: "/hang" }).finally(() => ended++),
  );
  await expect.poll(() => hanging.length, { timeout: 60_000 }).toBe(64);
  const request = { service: "custom:shared", method: "GET", path: "/quick" };
  expect(await globex.client.connections.callService(request)).toMatchObject({ status: 200 });
  const tested = await service.org.client.connections.testConnection({ id: connection!.id });
  expect([tested.ok, ended]).toStrictEqual([true, 0]);

  while (ended < calls.length) {
    for (const response of hanging.splice(0)) response.end();
    await new Promise(setImmediate);
  }
  for (const { status } of await Promise.all(calls)) expect(status).toBe(200);
  server.closeAllConnections();
  server.close();
});

describe("the caller learns the service's status", () => {
  test.each([
    ["of a body in a coding that is not known", { "content-encoding": "zstd" }, { raw: "e30=" }],
    ["of a body in no coding", { "content-encoding": "none" }, { json: {} }],
    ["of a body in no coding, said twice", { "content-encoding": ["identity", ""] }, { json: {} }],
    ["of gzip that is none", { "content-encoding": "gzip" }, { raw: "e30=" }],
  ])("%s", async (_, headers, expected) => {
    upstream.answer({ status: 409, headers: { "content-type": "application/json", ...headers } });
    expect((await call({})).body.data).toMatchObject({ status: 409, ...expected });
  });

  test("also when the answer itself is withheld, in the metadata and in the text", async () => {
    upstream.answer({ status: 201, headers: { "content-type": "text/plain" }, body: `you sent ${apiKey}` });
    const calling = service.org.client.connections.callService({
      service: "custom:core-banking",
      method: "POST",
    });
    const error = ConnectError.from(await calling.catch((thrown: unknown) => thrown));
    expect(error.rawMessage).toContain("it answered with status 201, so the call was made");
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: "CREDENTIAL_REFLECTED", metadata: { upstream_status: "201" } },
    ]);
  });
});

test("a redirect is answered, not followed", async () => {
  await using elsewhere = await startUpstream();
  upstream.answer({ status: 302, headers: { location: `${elsewhere.url}/steal` }, body: "" });
  expect((await call({})).body.data).toMatchObject({ status: 302 });
  expect(elsewhere.asked).toHaveLength(0);
});

/** A server that takes connections and never says anything. */
async function startSilent() {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => void sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
