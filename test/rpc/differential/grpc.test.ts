import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, test } from "vitest";
import { gzipSync } from "node:zlib";
import { services } from "#src/client/services.ts";
import { callHttp2, frame, type Http2Call } from "./calls.ts";
import { startTwoWays, type TwoWays } from "./two-ways.ts";

let ways: TwoWays;
beforeAll(async () => {
  ways = await startTwoWays();
});
afterAll(() => ways[Symbol.asyncDispose]());

const { getUser, upsertUser } = services.directory.method;
const { whoAmI } = services.apiKeys.method;
const mebibyte = 1024 * 1024;

const same = (name: string, call: Http2Call) =>
  ways.same(name, (side, id) => callHttp2(side, id, { secret: side.keys.admin, ...call }));

const valid = Buffer.from(toBinary(getUser.input, create(getUser.input, { id: "usr_missing" })));
const named = (id: string) => frame(toBinary(getUser.input, create(getUser.input, { id })));

describe("a body", () => {
  test.each<[string, Buffer]>([
    ["without a message", Buffer.alloc(0)],
    ["of half a frame's head", Buffer.from([0, 0, 0])],
    ["whose length is too large", frame(valid, { length: valid.length + 1 })],
    ["whose length is too small", frame(valid, { length: valid.length - 1 })],
    ["whose length is huge", frame(valid, { length: 0xffff_ffff })],
    ["of two messages", Buffer.concat([frame(valid), frame(valid)])],
    ["with bytes behind the message", Buffer.concat([frame(valid), Buffer.from([1, 2])])],
    ["that says it is compressed, and names no compression", frame(valid, { flags: 1 })],
    ["with an unknown flag", frame(valid, { flags: 4 })],
    ["with the flag of trailers", frame(valid, { flags: 0x80 })],
    ["that is malformed", frame(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]))],
    ["that is truncated", frame(valid.subarray(0, -2))],
    ["with text that is not UTF-8", frame(Buffer.from([0x0a, 2, 0xc3, 0x28]))],
    ["with a NUL", named("a\0b")],
    ["in many tongues", named("Ärger 100 % 日本 \n😀")],
    ["of a long text", named("ä%".repeat(1_200))],
    ["of one byte more than 4 MiB of nothing in particular", Buffer.alloc(4 * mebibyte + 1, 7)],
    ["of one byte more than 4 MiB in a frame", frame(Buffer.alloc(4 * mebibyte + 1))],
    ["of so much that the rest is never read", Buffer.alloc(6 * mebibyte, 7)],
    ["of 4 MiB", frame(Buffer.concat([Buffer.from([0x0a, 0xfb, 0xff, 0xff, 1]), Buffer.alloc(4 * mebibyte - 5, "a")]))],
  ])("%s is answered the same", (what, body) => same(`body ${what}`, { method: getUser, steps: [body, "end"] })); // prettier-ignore

  test("of bytes that come one by one is answered the same", () => {
    const bytes = [...frame(valid)].map((byte) => Buffer.from([byte]));
    return same("bytewise", { method: getUser, steps: [...bytes, "end"] });
  });

  test("that breaks several rules is answered the same", () =>
    same("rules", {
      method: upsertUser,
      steps: [
        frame(toBinary(upsertUser.input, create(upsertUser.input, { email: "ä%\n", role: "" }))),
        "end",
      ],
    }));

  test.each<[string, Buffer]>([
    ["that is not compressed", valid],
    ["that is cut", gzipSync(valid).subarray(0, -9)],
    ["that is empty", Buffer.alloc(0)],
    ["that is malformed", gzipSync(Buffer.from([0x0a, 0xff]))],
    ["of more than 4 MiB", gzipSync(Buffer.alloc(4 * mebibyte + 1))],
  ])("in gzip %s is answered the same", (what, message) =>
    same(`gzip ${what}`, {
      method: getUser,
      headers: { "grpc-encoding": "gzip" },
      steps: [frame(message, { flags: 1 }), "end"],
    }),
  );

  test("in gzip of two messages is answered the same", () =>
    same("two in gzip", {
      method: getUser,
      headers: { "grpc-encoding": "gzip" },
      steps: [
        Buffer.concat([frame(gzipSync(valid), { flags: 1 }), frame(gzipSync(valid), { flags: 1 })]),
        "end",
      ],
    }));

  test.each(["gzip", "snappy", "identity", "GZIP", "gzip,br"])(
    "in the compression %s is answered the same",
    async (encoding) => {
      const headers = { "grpc-encoding": encoding };
      const compressed = frame(gzipSync(valid), { flags: 1 });
      await same(`compressed ${encoding}`, { method: getUser, headers, steps: [compressed, "end"] });
      await same(`announced ${encoding}`, { method: getUser, headers, steps: [frame(valid), "end"] });
    },
  );
});

describe("the headers", () => {
  test.each<[string, Record<string, string | undefined>]>([
    ["grpc+proto", { "content-type": "application/grpc+proto" }],
    ["grpc+json", { "content-type": "application/grpc+json" }],
    ["an unknown gRPC type", { "content-type": "application/grpc+thrift" }],
    ["a type with a parameter", { "content-type": "application/grpc; a=b" }],
    ["a type in upper case", { "content-type": "Application/gRPC" }],
    ["gRPC-Web", { "content-type": "application/grpc-web" }],
    ["no te", { te: undefined }],
    ["no authority", { ":authority": undefined }],
    ["another verb", { ":method": "PUT" }],
    ["a query", { ":path": "/patchbay.apikeys.v1.ApiKeyService/WhoAmI?token=x" }],
    ["an unknown method", { ":path": "/patchbay.apikeys.v1.ApiKeyService/Nothing" }],
    ["what it accepts", { "grpc-accept-encoding": "identity,deflate,gzip" }],
    ["an idempotency key", { "idempotency-key": "abc" }],
    ["a Connect deadline", { "connect-timeout-ms": "0" }],
  ])("with %s are answered the same", (what, headers) =>
    same(`headers ${what}`, { method: whoAmI, headers }),
  );

  // Node's own parser refuses the first before anything of ours sees it, which leaves no line.
  test.each([
    ["a b", 0],
    ["a:b:c", 1],
    ["[::1", 1],
    ["x".repeat(300), 1],
  ])("with the authority %j are answered the same", (authority, lines) =>
    ways.same(
      `authority ${authority}`,
      (side, id) =>
        callHttp2(side, id, {
          method: whoAmI,
          secret: side.keys.admin,
          headers: { ":authority": authority },
        }),
      { lines },
    ),
  );

  test.each(["5S", "100000S", "5", "-1S", "S", "12345678901m", "99999999H", "", "1x", "1.5S", "5s"])(
    "with the deadline %j are answered the same",
    (value) => same(`deadline ${value}`, { method: whoAmI, headers: { "grpc-timeout": value } }),
  );

  test("that accept gzip get a large answer that is the same", () =>
    same("large", {
      method: services.catalog.method.listServices,
      headers: { "grpc-accept-encoding": "identity,deflate,gzip" },
    }));
});

test("a call without a key is refused before its body, and no reset comes before the answer", async () => {
  const steps = [frame(valid).subarray(0, 3)];
  await same("refused early", { method: getUser, secret: undefined, steps });
});

test("both ways left the same metrics and the same audit rows", () => ways.sameLeftBehind());
