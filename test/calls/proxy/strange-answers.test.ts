import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiKey, open, open2, proxyPath, readAll, startProxied, until } from "./support.ts";

let running: Awaited<ReturnType<typeof startProxied>>;
beforeAll(async () => {
  running = await startProxied();
});
afterAll(() => running[Symbol.asyncDispose]());

/** The service writes all of this at once, whatever it is asked, and hangs up. */
function answerWith(text: string): void {
  running.upstream.serve((request) => void request.socket.end(text));
}

async function overHttp1() {
  const { request, response } = open(running.service, proxyPath("/x"));
  request.end();
  const answer = await response;
  const { text } = await readAll(answer);
  return { status: answer.statusCode, headers: answer.headers, trailers: answer.trailers, text };
}

async function overHttp2() {
  const { session, stream, response } = open2(running.service, proxyPath("/x"));
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (fields: IncomingHttpHeaders) => (trailers = fields));
  let text = "";
  stream.on("data", (piece: Buffer) => (text += piece.toString("latin1")));
  const closed = once(stream, "close");
  const { ":status": status, ...headers } = await response;
  await closed;
  session.destroy();
  return { status, headers, trailers, text };
}

const chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
/** After this much, what came is passed on. */
const enough = chunk("x".repeat(20_000));

describe.each([
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
])("over %s", (_, ask) => {
  test("an answer that fails in the turn in which it began is refused, and does not hang", async () => {
    answerWith(chunked + enough + chunk(apiKey) + "0\r\n\r\n");
    const { status, headers, text } = await ask();
    expect([status, headers["x-error-reason"]]).toEqual([502, "CREDENTIAL_REFLECTED"]);
    expect(text).not.toContain(apiKey);
  });

  test.each([600, 999])("the status %i, which HTTP does not have, is named in a refusal", async (status) => {
    answerWith(`HTTP/1.1 ${status} Odd\r\ncontent-length: 2\r\n\r\nab`);
    const answer = await ask();
    expect([answer.status, answer.headers["x-error-reason"]]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
    expect(answer.text).toContain(`status ${status}`);
  });

  test("trailers do not speak for us, as headers do not", async () => {
    const ofOurs =
      "x-patchbay-source: patchbay\r\nstrict-transport-security: max-age=1\r\nset-cookie: a=1\r\n";
    answerWith(`${chunked}${chunk("a")}0\r\n${ofOurs}x-sum: 1\r\n\r\n`);
    const { status, trailers } = await ask();
    expect([status, Object.entries(trailers)]).toEqual([200, [["x-sum", "1"]]]);
  });
});

test("a credential that is found in the turn in which the answer began is in the audit log", async () => {
  running.service.clock.advance(61_000);
  answerWith(chunked + enough + chunk(apiKey) + "0\r\n\r\n");
  await overHttp1();
  const { audit } = running.service.org.client;
  const asked = { action: "connection.reflected", target: running.connectionId };
  await until(async () => (await audit.listAuditEvents(asked)).events.length > 0);
});
