import { once } from "node:events";
import type { ServerResponse } from "node:http";
import http2 from "node:http2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiKey, open, open2, proxyPath, readAll, slug, startProxied, until } from "./support.ts";

let running: Awaited<ReturnType<typeof startProxied>>;
beforeAll(async () => {
  running = await startProxied();
});
afterAll(() => running[Symbol.asyncDispose]());

const call = (path: string, init: RequestInit = {}, ref?: string) => {
  const { service } = running;
  const headers = {
    authorization: `Bearer ${service.org.secret}`,
    ...Object.fromEntries(new Headers(init.headers)),
  };
  return fetch(service.url + proxyPath(path, ref), { redirect: "manual", ...init, headers });
};

test("a request arrives with the stored key, below the base URL, and its answer comes back", async () => {
  const { service, upstream } = running;
  upstream.serve((request, response) => {
    request.resume().on("end", () => response.writeHead(201, { "x-kind": "a" }).end("made"));
  });
  const reply = await call("/accounts/a%2Fb?q=%C3%A4+b&n=1&n=2", { method: "POST", body: "sent" });
  expect([reply.status, await reply.text()]).toEqual([201, "made"]);
  expect(Object.fromEntries(reply.headers)).toMatchObject({
    "x-kind": "a",
    "x-patchbay-source": "upstream",
    "x-patchbay-attempts": "1",
    "x-request-id": expect.any(String) as string,
    ratelimit: expect.any(String) as string,
  });
  const asked = upstream.asked.at(-1)!;
  expect([asked.method, asked.url]).toEqual(["POST", "/base/accounts/a%2Fb?q=%C3%A4+b&n=1&n=2"]);
  expect(asked.headers).toMatchObject({
    authorization: `Bearer ${apiKey}`,
    host: new URL(upstream.url).host,
  });
  expect(service.logged()).not.toContain(apiKey);
});

test("the caller's key reaches the service in no header, whatever an SDK calls it", async () => {
  const { service, upstream } = running;
  upstream.serve((_request, response) => response.end());
  const { secret } = service.org;
  const headers = { "x-api-key": secret, "x-own": `Token ${secret}`, "x-kept": "kept" };
  expect((await call("/x", { headers })).status).toBe(200);
  const asked = upstream.asked.at(-1)?.headers;
  expect(JSON.stringify(asked)).not.toContain(secret);
  expect(asked).toMatchObject({ "x-kept": "kept", authorization: `Bearer ${apiKey}` });
});

describe("a connection is named by", () => {
  test.each([
    ["its slug", () => slug],
    ["its slug with an encoded colon", () => slug.replace(":", "%3A")],
    ["its id", () => running.connectionId],
  ])("%s", async (_, ref) => {
    running.upstream.serve((_request, response) => response.end("here"));
    const reply = await call("/x", {}, ref());
    expect([reply.status, await reply.text()]).toEqual([200, "here"]);
  });
});

describe("what follows /proxy is the path behind the base URL:", () => {
  test.each([
    ["", "/base"],
    ["/", "/base/"],
    ["?a=1", "/base?a=1"],
    ["/a/?", "/base/a/"],
    ["/a//b", "/base/a//b"],
  ])("%s", async (path, asked) => {
    running.upstream.serve((_request, response) => response.end());
    await (await call(path)).text();
    expect(running.upstream.asked.at(-1)?.url).toBe(asked);
  });
});

describe("refused before the service hears of it:", () => {
  const refused = async (path: string, init: RequestInit = {}, ref?: string) => {
    const before = running.upstream.asked.length;
    const reply = await call(path, init, ref);
    const { error } = (await reply.json()) as { error: string };
    expect(running.upstream.asked.length).toBe(before);
    expect(reply.headers.get("x-patchbay-source")).toBe("patchbay");
    return [reply.status, reply.headers.get("x-error-reason"), error];
  };

  test.each([
    ["no key", "/x", { headers: { authorization: "" } }, 401, "INVALID_BEARER"],
    ["a dot segment that is encoded twice", "/a/%252e%252e/b", {}, 400, "INVALID_PATH"],
    ["two slashes at the start", "//evil.example/x", {}, 400, "INVALID_PATH"],
    ["a query value that is a Bearer token", "/x?q=Bearer%20abc", {}, 400, "CREDENTIALS_IN_URL"],
    ["a key of ours in the query", `/x?q=qe_sk_live_${"A".repeat(32)}`, {}, 400, "CREDENTIALS_IN_URL"],
  ])("%s", async (_, path, init, status, reason) => {
    expect((await refused(path, init)).slice(0, 2)).toEqual([status, reason]);
  });

  test("a slug that is not connected", async () => {
    expect(await refused("/x", {}, "custom:nothing")).toEqual([
      404,
      "NOT_FOUND",
      "service is not connected; register it with POST /api/service-connections",
    ]);
  });

  test("a key without connections:use", async () => {
    const { secret } = await running.service.org.client.apiKeys.createApiKey({
      name: "viewer",
      scopes: ["connections:view"],
    });
    const asked = refused("/x", { headers: { authorization: `Bearer ${secret}` } });
    expect(await asked).toEqual([403, "MISSING_SCOPE", "missing scope: connections:use"]);
  });

  test("a WebSocket", async () => {
    const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    const { request, response } = open(running.service, proxyPath("/x"), { headers });
    request.end();
    const reply = await response;
    expect(reply.statusCode).toBe(501);
    expect(reply.headers).toMatchObject({ "x-error-reason": "UPGRADE_REFUSED" });
  });

  test("a body in a coding of its connection, which would be lost on the next", async () => {
    const before = running.upstream.asked.length;
    const headers = { "transfer-encoding": "gzip, chunked" };
    const { request, response } = open(running.service, proxyPath("/x"), { method: "POST", headers });
    request.end("a body");
    const reply = await response;
    expect([reply.statusCode, reply.headers["x-error-reason"]]).toEqual([400, "INVALID_OUTBOUND_REQUEST"]);
    expect(running.upstream.asked.length).toBe(before);
  });

  test("TRACE, which answers with the credential", async () => {
    const { request, response } = open(running.service, proxyPath("/x"), { method: "TRACE" });
    request.end();
    expect((await response).statusCode).toBe(400);
  });
});

test.each(["?key=abc", "?token=abc", "?access_token=abc", "?auth=1&api_key=2"])(
  "parameters have the names that the service gives them: %s",
  async (query) => {
    running.upstream.serve((_request, response) => response.end());
    expect((await call(`/x${query}`)).status).toBe(200);
    expect(running.upstream.asked.at(-1)?.url).toBe(`/base/x${query}`);
  },
);

describe("the answer's head", () => {
  test("keeps what is the service's, and loses what would speak for us or for one connection", async () => {
    running.upstream.serve((_request, response) => {
      response.writeHead(200, {
        "set-cookie": "a=1",
        "access-control-allow-origin": "*",
        "strict-transport-security": "max-age=1",
        "clear-site-data": '"*"',
        "alt-svc": 'h3=":443"',
        "x-patchbay-source": "patchbay",
        "cache-control": "public",
        "x-request-id": "theirs",
        connection: "keep-alive, x-hop",
        "x-hop": "1",
        "x-ratelimit-remaining": "7",
        link: "</next>; rel=next",
      });
      response.end();
    });
    const { headers } = await call("/x");
    expect(Object.fromEntries(headers)).toMatchObject({
      "x-ratelimit-remaining": "7",
      link: "</next>; rel=next",
      "x-patchbay-source": "upstream",
      "x-upstream-request-id": "theirs",
      "cache-control": "no-store",
    });
    const dropped = ["set-cookie", "access-control-allow-origin", "strict-transport-security", "clear-site-data", "alt-svc", "x-hop"]; // prettier-ignore
    expect(dropped.filter((name) => headers.has(name))).toEqual([]);
  });

  test.each([
    ["HEAD", 200, { "content-length": "7" }],
    ["GET", 204, {}],
    ["GET", 304, { etag: '"a"' }],
  ])("%s answered with %i has no body, and its headers", async (method, status, sent) => {
    running.upstream.serve((_request, response) => response.writeHead(status, sent).end());
    const reply = await call("/x", { method });
    expect([reply.status, await reply.text()]).toEqual([status, ""]);
    expect(Object.fromEntries(reply.headers)).toMatchObject(sent);
  });

  test("a redirect is answered, and not followed", async () => {
    const before = running.upstream.asked.length;
    running.upstream.serve((_request, response) => {
      response.writeHead(302, { location: "https://elsewhere.example/x" }).end();
    });
    const reply = await call("/x");
    expect([reply.status, reply.headers.get("location")]).toEqual([302, "https://elsewhere.example/x"]);
    expect(running.upstream.asked.length).toBe(before + 1);
  });

  test("early hints are passed over", async () => {
    running.upstream.serve((_request, response) => {
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
      response.end("after");
    });
    expect(await (await call("/x")).text()).toBe("after");
  });

  test("an upstream's 401 is told from ours", async () => {
    running.upstream.serve((_request, response) => {
      response.writeHead(401, { "www-authenticate": 'Bearer realm="theirs"' }).end("no");
    });
    const reply = await call("/x");
    expect([reply.status, reply.headers.get("x-patchbay-source"), await reply.text()]).toEqual([
      401,
      "upstream",
      "no",
    ]);
    expect(reply.headers.get("www-authenticate")).toBe('Bearer realm="theirs"');
  });
});

test("the request's head loses what is for us, of one connection, of a page, or asks for another method", async () => {
  running.upstream.serve((_request, response) => response.end());
  const { request, response } = open(running.service, proxyPath("/x"), {
    method: "POST",
    headers: {
      cookie: "a=1",
      connection: "x-hop",
      "x-hop": "1",
      te: "trailers",
      "x-forwarded-for": "1.2.3.4",
      "x-http-method-override": "DELETE",
      "x-method-override": "DELETE",
      origin: "https://page.example",
      referer: "https://page.example/secret",
      "proxy-authorization": "Basic eA==",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      "idempotency-key": "once",
      "accept-encoding": "zstd, br",
      "user-agent": "a-sdk/1",
    },
  });
  request.end();
  (await response).resume();
  const { headers } = running.upstream.asked.at(-1)!;
  expect(headers).toMatchObject({
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "idempotency-key": "once",
    "accept-encoding": "zstd, br",
    "user-agent": "a-sdk/1",
    "content-length": "0",
  });
  const dropped = ["cookie", "x-hop", "te", "x-forwarded-for", "x-http-method-override", "x-method-override", "origin", "referer", "proxy-authorization"]; // prettier-ignore
  expect(dropped.filter((name) => name in headers)).toEqual([]);
});

describe.each([
  ["HTTP/1.1", 1],
  ["HTTP/2", 2],
])("over %s", (_, version) => {
  const path = proxyPath("/stream");

  test("an event comes before the next one is sent", async () => {
    const { service, upstream } = running;
    const begun = Promise.withResolvers<ServerResponse>();
    upstream.serve((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      begun.resolve(response);
    });
    const { answered } = await opened(version, service, path, "GET");
    const [answer, sender] = await Promise.all([answered, begun.promise]);
    for (const event of ["data: 1\n\n", "data: 2\n\n"]) {
      sender.write(event);
      expect(String((await once(answer, "data"))[0])).toBe(event);
    }
    sender.end();
    await once(answer, "end");
  });

  test("a body of unknown length reaches the service piece by piece, and is answered meanwhile", async () => {
    const { service, upstream } = running;
    upstream.serve((request, response) => void request.pipe(response));
    const { sender, answered } = await opened(version, service, path, "POST");
    sender.write("one");
    const answer = await answered;
    expect(String((await once(answer, "data"))[0])).toBe("one");
    expect(upstream.asked.at(-1)?.headers["transfer-encoding"]).toBe("chunked");
    sender.write("two");
    expect(String((await once(answer, "data"))[0])).toBe("two");
    sender.end();
    await once(answer, "end");
  });

  test("trailers of the answer come with its end", async () => {
    running.upstream.serve((_request, response) => {
      response.writeHead(200, { trailer: "x-sum" }).write("a");
      response.addTrailers({ "x-sum": "1" });
      response.end();
    });
    if (version === 1) {
      const { request, response } = open(running.service, path);
      request.end();
      const answer = await response;
      await readAll(answer);
      expect(answer.trailers).toEqual({ "x-sum": "1" });
    } else {
      const { session, stream } = open2(running.service, path);
      stream.resume();
      const [trailers] = (await once(stream, "trailers")) as [object];
      expect(trailers).toMatchObject({ "x-sum": "1" });
      session.close();
    }
  });

  test("a caller that goes away takes the call with it", async () => {
    const { service, upstream } = running;
    upstream.serve((_request, response) => void response.writeHead(200).write("begun"));
    const arriving = upstream.next();
    const { leave, answered } = await opened(version, service, path, "GET");
    await once(await answered, "data");
    const asked = await arriving;
    leave();
    await until(() => asked.destroyed);
  });

  test("a caller that breaks off its body takes the call with it", async () => {
    const { service, upstream } = running;
    upstream.serve((request) => void request.resume());
    const arriving = upstream.next();
    const { sender, leave } = await opened(version, service, path, "POST");
    sender.write("half of it");
    const asked = await arriving;
    leave();
    await until(() => asked.destroyed);
    expect(asked.complete).toBe(false);
  });

  test("an answer that breaks off is no answer that ended", async () => {
    const { service, upstream } = running;
    const begun = Promise.withResolvers<ServerResponse>();
    upstream.serve((_request, response) => {
      response.writeHead(200).write("half");
      begun.resolve(response);
    });
    const { answered, wasCut } = await opened(version, service, path, "GET");
    const answer = await answered;
    await once(answer, "data");
    (await begun.promise).destroy();
    answer.resume();
    await until(() => answer.closed);
    expect(await wasCut()).toBe(true);
  });
});

test.each([http2.constants.NGHTTP2_CANCEL, http2.constants.NGHTTP2_NO_ERROR])(
  "over HTTP/2, a body that is reset with code %i has not ended",
  async (code) => {
    const { service, upstream } = running;
    upstream.serve((request) => void request.resume());
    const arriving = upstream.next();
    const { session, stream } = open2(service, proxyPath("/x"), { method: "POST" });
    stream.write("half of it");
    const asked = await arriving;
    stream.close(code);
    await until(() => asked.destroyed);
    expect(asked.complete).toBe(false);
    session.close();
  },
);

async function opened(version: number, service: typeof running.service, path: string, method: string) {
  if (version === 1) {
    const { request, response } = open(service, path, { method });
    if (method === "GET") request.end();
    else request.flushHeaders();
    return {
      sender: request,
      answered: response,
      leave: () => request.destroy(),
      wasCut: () => response.then(({ complete }) => !complete),
    };
  }
  const { session, stream, response } = open2(service, path, { method });
  return {
    sender: stream,
    answered: response.then(() => stream),
    leave: () => {
      stream.close(http2.constants.NGHTTP2_CANCEL);
      session.close();
    },
    wasCut: () => Promise.resolve(stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR),
  };
}
