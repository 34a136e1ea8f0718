import { createServer, type RequestListener } from "node:http";
import { createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { callConnect } from "./calls.ts";
import { observeHttp1 } from "./http1.ts";
import { observeHttp2 } from "./http2.ts";
import { masked } from "./mask.ts";
import { readableHttp1, readableHttp2 } from "./readable.ts";
import { startTwoWays } from "./two-ways.ts";

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function seenOverHttp1(listener: RequestListener) {
  const server = createServer(listener);
  try {
    const request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    return masked(readableHttp1(await observeHttp1(await listening(server), [request])));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function seenOverHttp2(answer: (stream: ServerHttp2Stream) => void) {
  const server = createHttp2();
  server.on("stream", (stream, { ":path": path }) => {
    stream.on("error", () => {});
    if (path === "/healthz") stream.respond({}, { endStream: true });
    else answer(stream);
  });
  try {
    const headers = { ":method": "POST", ":path": "/", "content-type": "application/grpc" };
    return masked(readableHttp2(await observeHttp2(await listening(server), headers, ["end"])));
  } finally {
    server.close();
  }
}

const plain: RequestListener = (_request, response) => void response.setHeader("a", "1").end("body");

describe("over HTTP/1.1, the comparison sees", () => {
  test.each<[string, RequestListener]>([
    ["a header more", (_request, response) => response.setHeader("a", "1").setHeader("b", "2").end("body")],
    ["a header twice", (_request, response) => response.setHeader("a", ["1", "1"]).end("body")],
    ["another value", (_request, response) => response.setHeader("a", "2").end("body")],
    ["another status", (_request, response) => response.writeHead(201, { a: "1" }).end("body")],
    ["another reason phrase", (_request, response) => response.writeHead(200, "Fine", { a: "1" }).end("body")],
    ["another body", (_request, response) => response.setHeader("a", "1").end("bode")],
    ["a trailer", (_request, response) => (response.setHeader("a", "1").write("body"), response.addTrailers({ b: "2" }), response.end())],
    ["an interim answer", (_request, response) => (response.writeContinue(), response.setHeader("a", "1").end("body"))],
    ["the promise to close", (_request, response) => response.setHeader("a", "1").setHeader("connection", "close").end("body")],
    ["a connection that ends without it", (request, response) => response.setHeader("a", "1").end("body", () => request.socket.end())],
    ["a connection cut in the body", (request, response) => response.setHeader("a", "1").setHeader("content-length", 9).write("body", () => request.socket.end())],
  ])("%s", async (_, other) => {
    expect(await seenOverHttp1(other)).not.toStrictEqual(await seenOverHttp1(plain));
  }); // prettier-ignore

  test("no difference between a length and chunks", async () => {
    const chunked = await seenOverHttp1((_request, response) => {
      response.setHeader("a", "1").write("bo");
      response.end("dy");
    });
    expect(chunked).toStrictEqual(await seenOverHttp1(plain));
  });
});

const unlike: readonly (readonly [string, (stream: ServerHttp2Stream) => void])[] = [
  ["trailers", (stream) => answerWith(stream, { status: "0" })],
  ["another trailer", (stream) => answerWith(stream, { status: "1" })],
  ["no message", (stream) => answerWith(stream, { status: "0" }, "")],
  ["headers only", (stream) => stream.respond({ "grpc-status": "0" }, { endStream: true })],
  ["a reset after the answer", (stream) => answerWith(stream, { status: "0" }, "\0\0\0\0\0", 8)],
  ["a reset before it", (stream) => stream.close(8)],
];

function answerWith(
  stream: ServerHttp2Stream,
  { status }: { status: string },
  body = "\0\0\0\0\0",
  code?: number,
): void {
  stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => {
    stream.sendTrailers({ "grpc-status": status });
    if (code !== undefined) stream.close(code);
  });
  stream.end(body);
}

test("over HTTP/2, the comparison tells each way to end a call from the others", async () => {
  const seen = await Promise.all(unlike.map(([, answer]) => seenOverHttp2(answer)));
  expect(new Set(seen.map((one) => JSON.stringify(one))).size).toBe(unlike.length);
  expect(await seenOverHttp2(unlike[0]![1])).toStrictEqual(seen[0]);
});

test("the comparison sees another answer and another count, and says for which call", async () => {
  const other = { corsOrigins: ["https://app.example"] };
  await using ways = await startTwoWays({}, other);
  const asked = ways.same("asked from a page", (side, requestId) =>
    callConnect(side, requestId, {
      method: services.apiKeys.method.whoAmI,
      secret: side.keys.admin,
      lines: ["origin: https://app.example"],
    }),
  );
  await expect(asked).rejects.toThrow("asked from a page");
  await ways.sides[1].service.org.client.apiKeys.whoAmI({});
  await expect(ways.sameLeftBehind()).rejects.toThrow("metrics");
});

test("the comparison sees another log line", async () => {
  await using ways = await startTwoWays({}, { trustedProxyHops: 1 });
  const asked = ways.same("asked through a proxy", (side, requestId) =>
    callConnect(side, requestId, {
      method: services.apiKeys.method.whoAmI,
      secret: side.keys.admin,
      lines: ["x-forwarded-for: 192.0.2.1"],
    }),
  );
  await expect(asked).rejects.toThrow("asked through a proxy");
});

test("the comparison sees an audit row more", async () => {
  await using ways = await startTwoWays();
  // Written to the database alone: nothing else tells of it.
  const { postgres, org } = ways.sides[1].service;
  const columns = "at, action, target, details, previous_hash, hash";
  await postgres.asOwner(
    `insert into audit_events (org_id, seq, ${columns}) select org_id, 999, ${columns} from audit_events ` +
      "where org_id = $1 and seq = 1",
    [org.orgId],
  );
  await expect(ways.sameLeftBehind()).rejects.toThrow("audit");
});
