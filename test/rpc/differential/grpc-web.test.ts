import { create, toBinary } from "@bufbuild/protobuf";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, test } from "vitest";
import { services } from "#src/client/services.ts";
import { callConnect, callHttp2, frame, type ConnectCall } from "./calls.ts";
import { startTwoWays, type TwoWays } from "./two-ways.ts";

let ways: TwoWays;
beforeAll(async () => {
  ways = await startTwoWays({ corsOrigins: ["https://app.example"] });
});
afterAll(() => ways[Symbol.asyncDispose]());

const { getUser, upsertUser } = services.directory.method;
const { whoAmI } = services.apiKeys.method;
const { listServices } = services.catalog.method;
const mebibyte = 1024 * 1024;

/** The call as it goes over HTTP/1.1, and the same headers and body over HTTP/2. */
async function same(
  name: string,
  { lines = [], ...call }: ConnectCall,
  key: "admin" | "revoked" | "none" = "admin",
) {
  const type = call.type ?? "application/grpc-web+proto";
  await ways.same(`${name} h1`, (side, id) =>
    callConnect(side, id, { ...call, type, lines, secret: key === "none" ? undefined : side.keys[key] }),
  );
  const headers = Object.fromEntries(lines.map((line) => line!.split(": ")));
  await ways.same(`${name} h2`, (side, id) =>
    callHttp2(side, id, {
      method: call.method,
      secret: key === "none" ? undefined : side.keys[key],
      headers: { "content-type": type, te: undefined, ...headers },
      steps: [Buffer.from(call.body ?? ""), "end"],
    }),
  );
}

const valid = Buffer.from(toBinary(getUser.input, create(getUser.input, { id: "usr_missing" })));
const email = (text: string) =>
  Buffer.from(toBinary(upsertUser.input, create(upsertUser.input, { email: text })));

describe("a body", () => {
  test.each<[string, Buffer]>([
    ["without a message", Buffer.alloc(0)],
    ["that is whole", frame(valid)],
    ["of half a frame's head", Buffer.from([0, 0, 0])],
    ["whose length is too large", frame(valid, { length: valid.length + 1 })],
    ["whose length is too small", frame(valid, { length: valid.length - 1 })],
    ["whose length is huge", frame(valid, { length: 0xffff_ffff })],
    ["of two messages", Buffer.concat([frame(valid), frame(valid)])],
    ["with trailers", Buffer.concat([frame(valid), frame(Buffer.from("a: b\r\n"), { flags: 0x80 })])],
    ["of trailers only", frame(Buffer.from("a: b\r\n"), { flags: 0x80 })],
    ["that says it is compressed, and names no compression", frame(valid, { flags: 1 })],
    ["that is malformed", frame(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]))],
    [
      "of 4 MiB",
      frame(Buffer.concat([Buffer.from([0x0a, 0xfb, 0xff, 0xff, 1]), Buffer.alloc(4 * mebibyte - 5, "a")])),
    ],
  ])("%s is answered the same", (what, body) => same(`body ${what}`, { method: getUser, body }));

  // Over HTTP/2, the older way leaves the rest of the body to the client, which may never end it.
  test("of more than 4 MiB is answered the same over HTTP/1.1", () =>
    ways.same("more than 4 MiB", (side, id) =>
      callConnect(side, id, {
        method: getUser,
        type: "application/grpc-web+proto",
        secret: side.keys.admin,
        body: frame(Buffer.alloc(4 * mebibyte + 20)),
      }),
    ));

  test.each(["gzip", "snappy", "identity"])("in %s is answered the same", async (encoding) => {
    const lines = [`grpc-encoding: ${encoding}`];
    await same(`in ${encoding}`, { method: getUser, body: frame(gzipSync(valid), { flags: 1 }), lines });
    await same(`announced ${encoding}`, { method: getUser, body: frame(valid), lines });
  });
});

test.each(["nonsense", "ärger@example.com", "a\nb@example.com", "100%@example.com"])(
  "a refusal that repeats nothing of %j is the same",
  (text) => same(`email ${text}`, { method: upsertUser, body: frame(email(text)) }),
);

describe("a call", () => {
  test.each(["revoked", "none"] as const)("with the key %s is answered the same", (key) =>
    same(`key ${key}`, { method: whoAmI, body: frame() }, key),
  );

  test.each([
    "application/grpc-web",
    "application/GRPC-WEB+proto",
    "application/grpc-web+json",
    "application/grpc-web-text",
  ])("of the type %s is answered the same", (type) =>
    same(`type ${type}`, { method: whoAmI, type, body: frame() }),
  );

  test.each(["60S", "x", "5"])("with the deadline %s is answered the same", (timeout) =>
    same(`deadline ${timeout}`, { method: whoAmI, body: frame(), lines: [`grpc-timeout: ${timeout}`] }),
  );

  test("from a page is answered the same", () =>
    same("page", { method: whoAmI, body: frame(), lines: ["origin: https://app.example", "x-grpc-web: 1"] }));
});

test.each(["gzip", "br", "identity", "snappy"])(
  "a large answer to a client that accepts %s is the same",
  (encoding) =>
    same(`accepts ${encoding}`, {
      method: listServices,
      body: frame(),
      lines: [`grpc-accept-encoding: ${encoding}`],
    }),
);

test("both ways left the same behind", () => ways.sameLeftBehind());
