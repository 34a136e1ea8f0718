import { create, toBinary } from "@bufbuild/protobuf";
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, test } from "vitest";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { services } from "#src/client/services.ts";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { callConnect, callHttp2, connectBytes, head, pathOf, sendHttp1, type Lines } from "./calls.ts";
import { startTwoWays, type Side, type TwoWays } from "./two-ways.ts";

let ways: TwoWays;
beforeAll(async () => {
  ways = await startTwoWays({ corsOrigins: ["https://app.example"] });
});
afterAll(() => ways[Symbol.asyncDispose]());

const { getUser, upsertUser } = services.directory.method;
const { whoAmI } = services.apiKeys.method;
const { callService } = services.connections.method;
const mebibyte = 1024 * 1024;
const bytesOf = (...bytes: number[]) => Buffer.from(bytes);
const emailed = (email: string) => JSON.stringify({ email });

describe("a JSON body", () => {
  test.each<[string, string | Buffer]>([
    ["that is empty", ""],
    ["that is an empty object", "{}"],
    ["that is white space", " \n"],
    ["that is null", "null"],
    ["that is a list", "[]"],
    ["that is malformed", '{"id":'],
    ["with more behind it", '{"id":"a"} {}'],
    ["that is not UTF-8", Buffer.from('{"id":"\xff"}', "latin1")],
    ["with a byte order mark", Buffer.concat([bytesOf(0xef, 0xbb, 0xbf), Buffer.from('{"id":"a"}')])],
    ["with a NUL", '{"id":"a\\u0000b"}'],
    ["with a raw NUL", '{"id":"a\0b"}'],
    ["with a lone surrogate", '{"id":"\\ud800"}'],
    ["that is too deep", "[".repeat(5_000) + "]".repeat(5_000)],
    ["with an unknown field", '{"id":"a","surprise":1}'],
    ["with a doubled field", '{"id":"a","id":"b"}'],
    ["with a doubled field, once escaped", '{"id":"a","\\u0069d":"b"}'],
    ["with a number for a text", '{"id":1}'],
    ["with null for a field", '{"id":null}'],
    ["that asks for what is not there, in many tongues", '{"id":"usr_Ärger 100 % 日本 \\n😀"}'],
    ["that asks for what is not there, at length", JSON.stringify({ id: "ä%".repeat(1_200) })],
    ["that holds a key", JSON.stringify({ id: newApiKeySecret("sandbox") })],
  ])("%s is answered the same", (what, body) =>
    ways.same(`json ${what}`, (side, id) =>
      callConnect(side, id, { method: getUser, body, secret: side.keys.admin }),
    ),
  );

  test.each([
    ["one that is not valid", emailed("nonsense")],
    ["one with letters of many tongues", emailed("ärger@example.com")],
    ["one with a newline", emailed("a\nb@example.com")],
    ["one with a percent sign", emailed("100%@example.com")],
    ["a long one", emailed(`${"a".repeat(1_500)}@example.com`)],
    ["a known role and a new user", JSON.stringify({ email: "a@b.example", role: "admin" })],
  ])("with %s as email is answered the same", (what, body) =>
    ways.same(`email ${what}`, (side, id) =>
      callConnect(side, id, { method: upsertUser, body, secret: side.keys.admin }),
    ),
  );

  test.each([
    ["4 MiB", 4 * mebibyte],
    ["one byte more than 4 MiB", 4 * mebibyte + 1],
  ])("of %s, announced or in chunks, is answered the same", async (what, size) => {
    const body = `{"id":"${"a".repeat(size - 9)}"}`;
    await ways.same(`announced ${what}`, (side, id) =>
      callConnect(side, id, { method: getUser, body, secret: side.keys.admin }),
    );
    await ways.same(`chunked ${what}`, (side, id) => chunked(side, id, [body, ""]));
  });

  test("in chunks of one byte is answered the same", () =>
    ways.same("small chunks", (side, id) => chunked(side, id, Array.from('{"id":"a"}').concat(""))));

  test("cut half-way is logged the same", async () => {
    await ways.same("cut", (side, id) =>
      sendHttp1(side, [
        connectBytes({ method: getUser, body: '{"id":"a"}', secret: side.keys.admin }, id).subarray(0, -4),
        (socket) => socket.end(),
      ]),
    );
    await ways.same("hung up", (side, id) => {
      const bytes = connectBytes({ method: getUser, body: '{"id":"a"}', secret: side.keys.admin }, id);
      return sendHttp1(side, [bytes.subarray(0, -4), (socket) => socket.resetAndDestroy()]);
    });
  });
});

function chunked(side: Side, id: string, chunks: readonly string[]) {
  const lines = [...usual(side, id), "content-type: application/json", "transfer-encoding: chunked"];
  const body = chunks.map((chunk) => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`);
  return sendHttp1(side, [head(`POST ${pathOf(getUser)} HTTP/1.1`, lines) + body.join("")]);
}

function usual(side: Side, id: string): string[] {
  return ["host: service.test", `x-request-id: ${id}`, `authorization: Bearer ${side.keys.admin}`];
}

describe("a binary body", () => {
  const valid = Buffer.from(toBinary(getUser.input, create(getUser.input, { id: "usr_missing" })));
  test.each<[string, Buffer]>([
    ["that is empty", Buffer.alloc(0)],
    ["that is whole", valid],
    ["that is truncated", valid.subarray(0, -3)],
    ["that is malformed", bytesOf(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1)],
    ["with an unknown field", Buffer.concat([valid, bytesOf(0xf8, 0x7f, 1)])],
    ["with a doubled field", Buffer.concat([valid, valid])],
    ["of the wrong wire type", bytesOf(0x08, 1)],
    ["with a text that is not UTF-8", bytesOf(0x0a, 2, 0xc3, 0x28)],
    ["with a NUL in a text", bytesOf(0x0a, 2, 0x61, 0)],
    ["with a group that never ends", bytesOf(0x13, 0x13, 0x13)],
  ])("%s is answered the same", (what, body) =>
    ways.same(`binary ${what}`, (side, id) =>
      callConnect(side, id, { method: getUser, body, type: "application/proto", secret: side.keys.admin }),
    ),
  );
});

/** A whole request, its head line by line. */
function request(side: Side, id: string, line: string, lines: Lines, body = "{}") {
  return sendHttp1(side, [head(line, [...usual(side, id), ...lines]) + body], {
    method: whoAmI,
    head: line.startsWith("HEAD"),
  });
}

const path = pathOf(whoAmI);
const json = "content-type: application/json";
const two = "content-length: 2";

describe("the head", () => {
  test.each<[string, string, Lines, string?]>([
    ["a type with a charset", `POST ${path} HTTP/1.1`, ["content-type: application/json; charset=utf-8", two]],
    ["a type with another charset", `POST ${path} HTTP/1.1`, ["content-type: application/json; charset=latin1", two]],
    ["a type in upper case", `POST ${path} HTTP/1.1`, ["content-type: APPLICATION/JSON", two]],
    ["a type with space around it", `POST ${path} HTTP/1.1`, ["content-type:   application/json  ", two]],
    ["two types", `POST ${path} HTTP/1.1`, [json, "content-type: application/proto", two]],
    ["a structured suffix", `POST ${path} HTTP/1.1`, ["content-type: application/vnd.a+json", two]],
    ["connect+json", `POST ${path} HTTP/1.1`, ["content-type: application/connect+json", two]],
    ["connect+proto", `POST ${path} HTTP/1.1`, ["content-type: application/connect+proto", two]],
    ["gRPC over HTTP/1.1", `POST ${path} HTTP/1.1`, ["content-type: application/grpc", "content-length: 5"], "\0\0\0\0\0"],
    ["gRPC-Web", `POST ${path} HTTP/1.1`, ["content-type: application/grpc-web+proto", "content-length: 5"], "\0\0\0\0\0"],
    ["no type", `POST ${path} HTTP/1.1`, [two]],
    ["no type and no body", `POST ${path} HTTP/1.1`, [], ""],
    ["an unknown type", `POST ${path} HTTP/1.1`, ["content-type: text/plain", two]],
    ["no length and no body", `POST ${path} HTTP/1.1`, [json], ""],
    ["a wrong verb", `PUT ${path} HTTP/1.1`, [json, two]],
    ["DELETE", `DELETE ${path} HTTP/1.1`, [], ""],
    ["GET with a question", `GET ${path}?connect=v1&encoding=json&message=%7B%7D HTTP/1.1`, [], ""],
    ["GET without one", `GET ${path} HTTP/1.1`, [], ""],
    ["HEAD", `HEAD ${path} HTTP/1.1`, [], ""],
    ["OPTIONS", `OPTIONS ${path} HTTP/1.1`, [], ""],
    ["a preflight", `OPTIONS ${path} HTTP/1.1`, ["origin: https://app.example", "access-control-request-method: POST"], ""],
    ["a foreign preflight", `OPTIONS ${path} HTTP/1.1`, ["origin: https://evil.example", "access-control-request-method: POST"], ""],
    ["a page's call", `POST ${path} HTTP/1.1`, [json, two, "origin: https://app.example"]],
    ["a foreign page's call", `POST ${path} HTTP/1.1`, [json, two, "origin: https://evil.example"]],
    ["no protocol version", `POST ${path} HTTP/1.1`, [json, two]],
    ["the wrong protocol version", `POST ${path} HTTP/1.1`, [json, two, "connect-protocol-version: 2"]],
    ["two protocol versions", `POST ${path} HTTP/1.1`, [json, two, "connect-protocol-version: 1", "connect-protocol-version: 1"]],
    ["a name in other case", `POST ${path.toLowerCase()} HTTP/1.1`, [json, two]],
    ["a query", `POST ${path}?a=b HTTP/1.1`, [json, two]],
    ["a credential in the query", `POST ${path}?access_token=x HTTP/1.1`, [json, two]],
    ["a credential encoded twice", `POST ${path}?api%255fkey=x HTTP/1.1`, [json, two]],
    ["a key in the query", `POST ${path}?q=${newApiKeySecret("sandbox")} HTTP/1.1`, [json, two]],
    ["a key in the path", `POST ${path}/${newApiKeySecret("sandbox")} HTTP/1.1`, [json, two]],
    ["an absolute target", `POST http://service.test${path} HTTP/1.1`, [json, two]],
    ["an absolute target of another host", `POST http://other.test${path} HTTP/1.1`, [json, two]],
    ["an absolute target of no host", `POST http://a b${path} HTTP/1.1`, [json, two]],
    ["HTTP/1.0", `POST ${path} HTTP/1.0`, [json, two]],
    ["HTTP/1.0 that keeps alive", `POST ${path} HTTP/1.0`, [json, two, "connection: keep-alive"]],
    ["the wish to close", `POST ${path} HTTP/1.1`, [json, two, "connection: close"]],
    ["an expectation", `POST ${path} HTTP/1.1`, [json, two, "expect: 100-continue"]],
    ["an expectation that cannot be met", `POST ${path} HTTP/1.1`, [json, two, "expect: miracles"]],
    ["the encoding identity", `POST ${path} HTTP/1.1`, [json, two, "content-encoding: identity"]],
    ["an unknown encoding", `POST ${path} HTTP/1.1`, [json, two, "content-encoding: snappy"]],
    ["gzip that is none", `POST ${path} HTTP/1.1`, [json, two, "content-encoding: gzip"]],
    ["br that is none", `POST ${path} HTTP/1.1`, [json, two, "content-encoding: br"]],
    ["the encoding of a stream", `POST ${path} HTTP/1.1`, [json, two, "connect-content-encoding: gzip"]],
    ["gzip in the answer", `POST ${path} HTTP/1.1`, [json, two, "accept-encoding: gzip, br"]],
    ["a refusal of all encodings", `POST ${path} HTTP/1.1`, [json, two, "accept-encoding: *;q=0"]],
    ["an idempotency key", `POST ${path} HTTP/1.1`, [json, two, "idempotency-key: abc"]],
    ["a bad idempotency key", `POST ${path} HTTP/1.1`, [json, two, `idempotency-key: ${"x".repeat(5_000)}`]],
    ["a trailer", `POST ${path} HTTP/1.1`, [json, "transfer-encoding: chunked", "trailer: a"], "2\r\n{}\r\n0\r\na: b\r\n\r\n"],
  ])("with %s is answered the same", (what, line, lines, body) =>
    ways.same(`head ${what}`, (side, id) => request(side, id, line, lines, body)),
  ); // prettier-ignore

  test.each<[string, Lines]>([
    ["no host", []],
    ["a bad host", ["host: a b"]],
    ["two hosts", ["host: a", "host: b"]],
    ["an empty host", ["host:"]],
  ])("with %s is answered the same", (what, hosts) =>
    ways.same(`host ${what}`, (side, id) =>
      sendHttp1(side, [
        head(`POST ${path} HTTP/1.1`, [...hosts, ...usual(side, id).slice(1), json, two]) + "{}",
      ]),
    ),
  );

  test.each([
    "",
    "Bearer",
    "Basic YTpi",
    "bearer  $KEY ",
    "Bearer $KEY x",
    `Bearer ${"x".repeat(600)}`,
    "Bearer \xff",
  ])("with the authorization %j is answered the same", (value) =>
    ways.same(`authorization ${value}`, (side, id) =>
      callConnect(side, id, {
        method: whoAmI,
        lines: [`authorization: ${value.replace("$KEY", side.keys.admin)}`],
      }),
    ),
  );

  test.each(["5000", "0", "1", "-1", "", "1s", "1.5", "99999999999", "9999999999", "0x10", "100000", "1, 2"])(
    "with the deadline %j is answered the same, whose body comes or does not",
    async (value) => {
      const isShort = ["0", "1"].includes(value);
      await ways.same(`deadline ${value}`, (side, id) => {
        const bytes = connectBytes(
          { method: whoAmI, secret: side.keys.admin, lines: [`connect-timeout-ms: ${value}`] },
          id,
        );
        // Whether so short a deadline passes before a whole call is answered is chance: its body comes too late for sure.
        const answered = (socket: Socket) => once(socket, "data");
        const steps = isShort ? [bytes.subarray(0, -1), answered, bytes.subarray(-1)] : [bytes];
        return sendHttp1(side, steps, { method: whoAmI });
      });
    },
  );
});

describe("a compressed body", () => {
  const asked = JSON.stringify({ id: "usr_missing" });
  const large = (size: number) => `{"id":"${"a".repeat(size - 9)}"}`;
  test.each<[string, string, Buffer]>([
    ["of gzip", "gzip", gzipSync(asked)],
    ["of br", "br", brotliCompressSync(asked)],
    ["that is not compressed", "gzip", Buffer.from(asked)],
    ["of br that is gzip", "br", gzipSync(asked)],
    ["that is cut", "gzip", gzipSync(asked).subarray(0, -9)],
    ["that is empty", "gzip", Buffer.alloc(0)],
    ["of nothing", "gzip", gzipSync("")],
    ["that is no JSON", "gzip", gzipSync("{secret")],
    ["of 4 MiB", "gzip", gzipSync(large(4 * mebibyte))],
    ["of one byte more than 4 MiB", "gzip", gzipSync(large(4 * mebibyte + 1))],
    ["of one byte more than 4 MiB in br", "br", brotliCompressSync(large(4 * mebibyte + 1))],
    ["in a coding that is not known", "snappy", Buffer.from(asked)],
    ["in a coding in capitals", "GZIP", gzipSync(asked)],
    ["in two codings", "gzip, br", gzipSync(asked)],
  ])("%s is answered the same", (what, coding, body) =>
    ways.same(`compressed ${what}`, (side, id) =>
      callConnect(side, id, {
        method: getUser,
        body,
        secret: side.keys.admin,
        lines: [`content-encoding: ${coding}`],
      }),
    ),
  );
});

test.each(["gzip", "br"])(
  "a large answer to a request in %s, which does not say what it accepts, is the same",
  (coding) =>
    ways.same(`asked in ${coding}`, (side, id) =>
      callConnect(side, id, {
        method: services.catalog.method.listServices,
        body: { gzip: gzipSync, br: brotliCompressSync }[coding]!("{}"),
        secret: side.keys.admin,
        lines: [`content-encoding: ${coding}`],
      }),
    ),
);

test.each(["gzip", "br", "identity", "snappy", "gzip;q=0, br"])(
  "a large answer to a client that accepts %s is the same",
  (encoding) =>
    ways.same(`accepts ${encoding}`, (side, id) =>
      callConnect(side, id, {
        method: services.catalog.method.listServices,
        secret: side.keys.admin,
        lines: [`accept-encoding: ${encoding}`],
      }),
    ),
);

test("a refusal before the body comes at once both ways, and ends the connection", async () => {
  await ways.same("refused early", (side, id) =>
    sendHttp1(side, [connectBytes({ method: whoAmI, body: "{}".padEnd(100) }, id).subarray(0, -90)]),
  );
  await ways.same("refused before it continues", (side, id) => {
    const lines = [...usual(side, id).slice(0, 2), json, two, "expect: 100-continue"];
    return sendHttp1(side, [head(`POST ${path} HTTP/1.1`, lines)]);
  });
});

test("calls in a pipeline are answered the same, whichever way each takes", async () => {
  const post = (side: Side, id: string, lines: Lines = []) =>
    connectBytes({ method: whoAmI, secret: side.keys.admin, lines }, id);
  const get = (side: Side, id: string) =>
    Buffer.from(head(`GET ${path}?connect=v1&encoding=json&message=%7B%7D HTTP/1.1`, usual(side, id)));
  await ways.same(
    "two of the lane",
    (side, id) => sendHttp1(side, [Buffer.concat([post(side, id), post(side, `${id}.b`)])], { answers: 2 }),
    { lines: 2 },
  );
  await ways.same(
    "lane then Connect",
    (side, id) => sendHttp1(side, [Buffer.concat([post(side, id), get(side, `${id}.b`)])], { answers: 2 }),
    { lines: 2 },
  );
  await ways.same(
    "Connect then lane",
    (side, id) => sendHttp1(side, [Buffer.concat([get(side, id), post(side, `${id}.b`)])], { answers: 2 }),
    { lines: 2 },
  );
});

test("Connect's unary protocol over HTTP/2 is answered the same", async () => {
  const headers = { "content-type": "application/json", te: undefined, "connect-protocol-version": "1" };
  await ways.same("http2 good", (side, id) =>
    callHttp2(side, id, {
      method: whoAmI,
      headers,
      secret: side.keys.admin,
      steps: [Buffer.from("{}"), "end"],
    }),
  );
  await ways.same("http2 refused", (side, id) =>
    callHttp2(side, id, { method: whoAmI, headers, steps: [Buffer.from("{}"), "end"] }),
  );
  await ways.same("http2 bad body", (side, id) =>
    callHttp2(side, id, {
      method: callService,
      headers,
      secret: side.keys.admin,
      steps: [Buffer.from("{"), "end"],
    }),
  );
  await ways.same("http2 refused early", (side, id) =>
    callHttp2(side, id, { method: whoAmI, headers, steps: [Buffer.from("{")] }),
  );
});

test("both ways left the same metrics and the same audit rows", () => ways.sameLeftBehind());
