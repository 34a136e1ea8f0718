import { create, toBinary } from "@bufbuild/protobuf";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, test } from "vitest";
import { services } from "#src/client/services.ts";
import { callConnect, callHttp2, frame } from "./calls.ts";
import { startTwoWays, type TwoWays } from "./two-ways.ts";

let ways: TwoWays;
beforeAll(async () => {
  ways = await startTwoWays();
});
afterAll(() => ways[Symbol.asyncDispose]());

const { getUser } = services.directory.method;
const { whoAmI } = services.apiKeys.method;
const { listServices } = services.catalog.method;
const mebibyte = 1024 * 1024;

interface Form {
  readonly type: string;
  readonly method?: typeof getUser | typeof whoAmI | typeof listServices;
  readonly body: Buffer;
  readonly lines?: readonly string[];
  readonly key?: "admin" | "revoked" | "none";
}

/** The call over HTTP/1.1 and over HTTP/2. */
async function same(name: string, { type, method = getUser, body, lines = [], key = "admin" }: Form) {
  const short = `${type.replace("application/", "")} ${name}`;
  await ways.same(`h1 ${short}`, (side, id) =>
    callConnect(side, id, { method, type, body, lines, secret: key === "none" ? undefined : side.keys[key] }),
  );
  const headers = Object.fromEntries(lines.map((line) => line.split(": ")));
  await ways.same(`h2 ${short}`, (side, id) =>
    callHttp2(side, id, {
      method,
      secret: key === "none" ? undefined : side.keys[key],
      headers: { "content-type": type, te: undefined, ...headers },
      steps: [body, "end"],
    }),
  );
}

describe.each(["application/grpc+json", "application/grpc-web+json"])("a body of %s", (type) => {
  const json = (text: string | Buffer) => frame(Buffer.from(text));
  test.each<[string, Buffer]>([
    ["without a message", Buffer.alloc(0)],
    ["of an empty message", frame()],
    ["that is whole", json('{"id":"usr_missing"}')],
    ["of two messages", Buffer.concat([json("{}"), json("{}")])],
    ["of half a frame's head", Buffer.from([0, 0, 0])],
    ["whose length is too large", frame(Buffer.from("{}"), { length: 3 })],
    ["that says it is compressed, and names no compression", frame(Buffer.from("{}"), { flags: 1 })],
    ["that is null", json("null")],
    ["that is a list", json("[]")],
    ["that is malformed", json('{"id":')],
    ["with more behind it", json('{"id":"a"} {}')],
    ["that is not UTF-8", json(Buffer.from('{"id":"\xff"}', "latin1"))],
    ["with a byte order mark", json('\ufeff{"id":"a"}')],
    ["with a NUL", json('{"id":"a\\u0000b"}')],
    ["that is too deep", json("[".repeat(5_000) + "]".repeat(5_000))],
    ["with an unknown field", json('{"id":"a","surprise":1}')],
    ["with a doubled field", json('{"id":"a","id":"b"}')],
    ["with a number for a text", json('{"id":1}')],
    ["of 4 MiB", json(`{"id":"${"a".repeat(4 * mebibyte - 9)}"}`)],
  ])("%s is answered the same", (what, body) => same(what, { type, body }));

  test("with a charset, in gzip, is answered the same", () =>
    same("charset", {
      type: `${type}; charset=utf-8`,
      body: frame(gzipSync('{"id":"usr_missing"}'), { flags: 1 }),
      lines: ["grpc-encoding: gzip"],
    }));
});

const valid = Buffer.from(toBinary(getUser.input, create(getUser.input, { id: "usr_missing" })));

describe("a body of application/grpc", () => {
  const type = "application/grpc";
  test.each<[string, Buffer]>([
    ["without a message", Buffer.alloc(0)],
    ["that is whole", frame(valid)],
    ["of half a frame's head", Buffer.from([0, 0, 0])],
    ["whose length is too large", frame(valid, { length: valid.length + 1 })],
    ["whose length is too small", frame(valid, { length: valid.length - 1 })],
    ["of two messages", Buffer.concat([frame(valid), frame(valid)])],
    ["that is malformed", frame(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]))],
    ["with the flag of trailers", frame(valid, { flags: 0x80 })],
    ["of more than 4 MiB", frame(Buffer.alloc(4 * mebibyte + 20))],
  ])("%s is answered the same", (what, body) => same(what, { type, body }));
});

describe.each(["application/grpc", "application/grpc+json", "application/grpc-web+json"])(
  "a call of the type %s",
  (type) => {
    const body = frame(Buffer.from(type.endsWith("json") ? "{}" : ""));

    test.each(["admin", "revoked", "none"] as const)("with the key %s is answered the same", (key) =>
      same(`key ${key}`, { type, method: whoAmI, body, key }),
    );

    test.each(["60S", "0m", "x"])("with the deadline %s is answered the same", (timeout) =>
      same(`deadline ${timeout}`, { type, method: whoAmI, body, lines: [`grpc-timeout: ${timeout}`] }),
    );

    test.each(["gzip", "br", "identity", "snappy"])("that accepts %s has the same long answer", (encoding) =>
      same(`accepts ${encoding}`, {
        type,
        method: listServices,
        body,
        lines: [`grpc-accept-encoding: ${encoding}`],
      }),
    );

    test("in an unknown compression is answered the same", () =>
      same("unknown", { type, method: whoAmI, body, lines: ["grpc-encoding: snappy"] }));
  },
);

test("both ways left the same behind", () => ways.sameLeftBehind());
