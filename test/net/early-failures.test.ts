import { once } from "node:events";
import type http2 from "node:http2";
import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Handler } from "#src/platform/http.ts";
import { startService, type TestService } from "../support/service.ts";
import { connectHttp2, gate, startPort, testTls, write } from "./support.ts";

/** The answers that came one after another on one connection, by their status lines. */
function answersIn(received: string): { status: number; headers: Headers; body: string }[] {
  return received.split(/(?=HTTP\/1\.1 \d)/).map((answer) => {
    const [head = "", body = ""] = answer.split(/\r\n\r\n(.*)/s);
    const [status = "", ...lines] = head.split("\r\n");
    const headers = new Headers(lines.map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]));
    return { status: Number(status.split(" ")[1]), headers, body };
  });
}

const promised = (reason: string) => ({
  "cache-control": "no-store",
  "content-type": "application/json",
  "x-content-type-options": "nosniff",
  "x-error-reason": reason,
  "x-request-id": expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f-]{27}$/) as string,
});

const head = "GET / HTTP/1.1\r\nhost: a\r\n";

const malformed: [string, string, number, string, string][] = [
  ["no HTTP", "hello there\r\n\r\n", 400, "INVALID_REQUEST", "the request is not valid HTTP/1.1"],
  ["a version that does not exist", "GET / HTTP/9.9\r\n\r\n", 400, "INVALID_REQUEST", "the request is not valid HTTP/1.1"],
  ["a header without a colon", `${head}nonsense\r\n\r\n`, 400, "INVALID_REQUEST", "the request is not valid HTTP/1.1"],
  ["two lengths", `${head}content-length: 1\r\ncontent-length: 2\r\n\r\n`, 400, "INVALID_REQUEST", "the request is not valid HTTP/1.1"],
  ["a length beside chunks", `${head}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`, 400, "INVALID_REQUEST", "the request is not valid HTTP/1.1"],
  ["a chunk that is none", `${head.replace("GET", "POST")}transfer-encoding: chunked\r\n\r\nzz\r\n`, 400, "INVALID_REQUEST", "the request is not valid HTTP/1.1"],
  ["a chunk with long extensions", `${head.replace("GET", "POST")}transfer-encoding: chunked\r\n\r\n1;${"a".repeat(20_000)}`, 413, "MESSAGE_TOO_LARGE", "the chunk extensions are too large: send none"],
  ["large headers", `${head}x: ${"a".repeat(20_000)}\r\n\r\n`, 431, "MESSAGE_TOO_LARGE", "the headers are larger than 16 KiB: send less in them"],
  ["half a request line", "GET /hal", 408, "DEADLINE_EXCEEDED", "the request did not arrive in time: send its headers and its body without long pauses"],
  ["half a body", `${head.replace("GET", "POST")}content-length: 9\r\n\r\nhalf`, 408, "DEADLINE_EXCEEDED", "the request did not arrive in time: send its headers and its body without long pauses"],
  ["no host", "GET / HTTP/1.1\r\n\r\n", 400, "INVALID_REQUEST", "the request has no Host header, which HTTP/1.1 asks for"],
  ["an expectation", `${head}expect: a miracle\r\n\r\n`, 417, "INVALID_REQUEST", "of all expectations, only 100-continue is met here: leave out the Expect header"],
  ["a tunnel", "CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 501, "METHOD_NOT_ALLOWED", "this is no proxy: CONNECT is not served"],
]; // prettier-ignore

const hello: Handler = (request, response) => void request.resume().on("end", () => response.end("hello"));

describe.each(["in clear text", "over TLS"])("what HTTP/1.1 cannot be read as, %s", (transport) => {
  const tls = transport === "over TLS" ? testTls : undefined;
  const limits = { headersMs: 100, requestMs: 200, firstBytesMs: 10_000, lingerMs: 50 };

  async function answersTo(number: number, sent: string) {
    const socket =
      tls === undefined
        ? connectTcp(number, "127.0.0.1")
        : connectTls({ port: number, host: "127.0.0.1", ca: tls.cert, ALPNProtocols: ["http/1.1"] });
    socket.write(sent);
    return answersIn(await text(socket));
  }

  test.each(malformed)("has body, reason and id for %s", async (_, sent, status, reason, error) => {
    await using port = await startPort({ handler: hello, limits, tls });
    const [answer, ...more] = await answersTo(port.number, sent);
    expect(more).toEqual([]);
    expect(answer?.status).toBe(status);
    expect(Object.fromEntries(answer!.headers)).toMatchObject(promised(reason));
    expect(JSON.parse(answer!.body)).toEqual({ error });
    const requestId = answer?.headers.get("x-request-id");
    expect(port.lines).toMatchObject([{ level: 30, requestId, status, peerAddress: "127.0.0.1" }]);
  });

  test.each(malformed)("comes after the answers to what was sent before, for %s", async (_, sent, status) => {
    const released = gate();
    let waiting = 0;
    const handler: Handler = (request, response) => {
      if (request.url !== "/slow") return hello(request, response);
      waiting += 1;
      if (waiting === 3) setImmediate(released.open);
      void released.opened.then(() => response.end("slow"));
    };
    await using port = await startPort({ handler, limits, tls });
    const before = "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3);
    const answers = await answersTo(port.number, before + sent);
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, status]);
  });

  test("ends a connection whose answer has begun, as nothing can be added to it", async () => {
    const handler: Handler = (request, response) => {
      response.setHeader("content-length", "100");
      write(response, "begun");
      request.resume();
    };
    await using port = await startPort({ handler, limits, tls });
    const chunked = `${head.replace("GET", "POST")}transfer-encoding: chunked\r\n\r\n`;
    const [answer, ...more] = await answersTo(port.number, `${chunked}1\r\na\r\nzz\r\n`);
    expect([answer?.status, answer?.body, more]).toEqual([200, "begun", []]);
  });

  test("may be answered by its handler at the same time, and nothing breaks", async () => {
    const handler: Handler = (_request, response) => {
      setImmediate(() => {
        response.statusCode = 401;
        response.end("refused");
      });
    };
    await using port = await startPort({ handler, limits, tls });
    const chunked = `${head.replace("GET", "POST")}transfer-encoding: chunked\r\n\r\nzz\r\n`;
    for (let i = 0; i < 20; i++)
      expect(await answersTo(port.number, chunked)).toMatchObject([{ status: 400 }]);
    expect(await port.drain(10_000)).toBe(true);
  });
});

describe("over HTTP/2", () => {
  test.each([
    ["large headers", { "x-large": "a".repeat(17_000) }, 431, "MESSAGE_TOO_LARGE"],
    ["an expectation", { expect: "a miracle" }, 417, "INVALID_REQUEST"],
  ])("there is a body, reason and id for %s", async (_, sent, status, reason) => {
    await using port = await startPort({ handler: hello });
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":path": "/", ...sent });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    expect(headers).toMatchObject({ ":status": status, ...promised(reason) });
    expect(JSON.parse(await text(stream))).toHaveProperty("error");
    expect(port.lines).toMatchObject([{ requestId: headers["x-request-id"], status }]);
  });

  test("there is a body, reason and id for a tunnel", async () => {
    await using port = await startPort({ handler: hello });
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":method": "CONNECT", ":authority": "a:1" });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    expect(headers).toMatchObject({ ":status": 501, ...promised("METHOD_NOT_ALLOWED") });
  });
});

describe("every failure of the service", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService({ corsOrigins: ["https://app.example"] });
  });
  afterAll(() => service[Symbol.asyncDispose]());

  const preflight = { origin: "https://evil.example", "access-control-request-method": "POST" };

  test.each<[string, string, Record<string, string>, number, string]>([
    ["GET", "/api/auth/me", {}, 401, "INVALID_BEARER"],
    ["GET", "/api/nothing", {}, 404, "UNKNOWN_PATH"],
    ["PUT", "/api/auth/me", {}, 405, "METHOD_NOT_ALLOWED"],
    ["DELETE", "/openapi.json", {}, 405, "METHOD_NOT_ALLOWED"],
    ["POST", "/healthz", {}, 405, "METHOD_NOT_ALLOWED"],
    ["POST", "/readyz", {}, 405, "METHOD_NOT_ALLOWED"],
    ["OPTIONS", "/api/auth/me", preflight, 403, "INVALID_REQUEST"],
    ["GET", "/api/auth/me?token=x", {}, 400, "CREDENTIALS_IN_URL"],
  ])("has body, reason and id: %s %s", async (method, path, headers, status, reason) => {
    const answer = await fetch(service.url + path, { method, headers });
    expect([answer.status, Object.fromEntries(answer.headers)]).toMatchObject([status, promised(reason)]);
    expect(Object.keys((await answer.json()) as object)).toEqual(["error"]);
  });
});
