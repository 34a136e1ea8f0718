import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { once } from "node:events";
import http2 from "node:http2";
import { buffer, text } from "node:stream/consumers";
import { brotliDecompressSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { createByteBudget } from "#src/platform/byte-budget.ts";
import { compressingFor, compressions } from "#src/rpc/compression.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const unary = "/patchbay.apikeys.v1.ApiKeyService/WhoAmI";
const stream = "/patchbay.verification.v1.VerificationService/WatchRevocations";
const advice = "compress with gzip or br, or not at all";

/** Sends a message that is compressed with something, and answers all that comes back. */
async function send(path: string, type: string, encoding: Record<string, string>) {
  const session = http2.connect(service.url);
  const asked = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": type,
    authorization: `Bearer ${service.org.secret}`,
    ...encoding,
  });
  asked.end(Buffer.from([1, 0, 0, 0, 1, 7]));
  let trailers: http2.IncomingHttpHeaders = {};
  asked.on("trailers", (received: http2.IncomingHttpHeaders) => (trailers = received));
  const [headers] = (await once(asked, "response")) as [http2.IncomingHttpHeaders];
  const body = await text(asked);
  session.destroy();
  return { headers, trailers: { ...trailersIn(body), ...trailers }, body };
}

/** The trailers in the last frame of a body of gRPC-Web. */
function trailersIn(body: string): Record<string, string> {
  const lines = body.split("\r\n").map((line) => line.replace(/^.*(?=grpc-)/s, "").split(/: (.*)/s));
  return Object.fromEntries(lines.map(([name = "", value = ""]) => [name, value]));
}

describe("a message in a compression that is not known is unimplemented, and the reply names those that are", () => {
  test.each(
    ["application/grpc", "application/grpc+json", "application/grpc-web+proto"].flatMap((type) => [
      [type, unary, "snappy"],
      [type, stream, "snappy"],
      [type, unary, "gzip,br"],
      [type, stream, "GZIP"],
    ]),
  )("over %s to %s, in %s", async (type, path, encoding) => {
    const { headers, trailers } = await send(path, type, { "grpc-encoding": encoding });
    expect(headers).toMatchObject({ ":status": 200, "grpc-accept-encoding": "gzip,br" });
    expect(trailers).toMatchObject({ "grpc-status": "12", "grpc-message": advice });
    const details = Buffer.from(String(trailers["grpc-status-details-bin"]), "base64");
    const [info] = fromBinary(StatusSchema, details).details;
    expect(anyUnpack(info!, ErrorInfoSchema)).toMatchObject({ reason: "UNSUPPORTED_CONTENT_TYPE" });
  });

  test.each(["application/json", "application/proto"])("over Connect with %s", async (type) => {
    const { headers, body } = await send(unary, type, { "content-encoding": "snappy" });
    expect(headers).toMatchObject({ ":status": 501, "accept-encoding": "gzip,br" });
    expect(JSON.parse(body)).toMatchObject({
      code: "unimplemented",
      message: advice,
      details: [{ debug: { reason: "UNSUPPORTED_CONTENT_TYPE" } }],
    });
  });

  test.each(["application/connect+json", "application/connect+proto"])(
    "over a stream of Connect with %s",
    async (type) => {
      const { headers, body } = await send(stream, type, { "connect-content-encoding": "snappy" });
      expect(headers).toMatchObject({ ":status": 200, "connect-accept-encoding": "gzip,br" });
      expect(JSON.parse(body.slice(body.indexOf("{")))).toMatchObject({
        error: { code: "unimplemented", message: advice, details: [{ type: "google.rpc.ErrorInfo" }] },
      });
    },
  );
});

test("a reply to a compression that is known names none", async () => {
  const { headers } = await send(unary, "application/grpc", { "grpc-encoding": "identity" });
  expect(headers).not.toHaveProperty("grpc-accept-encoding");
});

describe("what Connect compresses", () => {
  const [gzip] = compressions;
  const mebibyte = 1024 * 1024;
  const long = Buffer.alloc(8 * mebibyte, "a");

  test("is counted as what it was and what it becomes", async () => {
    const budget = createByteBudget(64 * mebibyte, () => 0);
    const [holding, other] = [budget.open(() => "acme"), budget.open(() => "acme")];
    const { signal: gone } = new AbortController();
    const compressing = compressingFor({ gone, over: gone, holding }, async () => gzip!.compress(long));
    other.grow(16 * mebibyte);
    expect(() => other.grow(1)).toThrow("too many bytes");
    await compressing;
  });

  test("has no turn any more once its caller is gone", async () => {
    const call = new AbortController();
    const gone = new Error("the caller went away");
    const running = gzip!.compress(long);
    const { signal } = call;
    const waiting = compressingFor({ gone: signal, over: signal, holding: undefined }, async () =>
      gzip!.compress(long),
    );
    call.abort(gone);
    await expect(waiting).rejects.toBe(gone);
    await running;
  });
});

test("an answer over gRPC-Web is compressed for its caller, whose call Connect serves", async () => {
  for (let made = 0; made < 5; made += 1) {
    await service.org.client.apiKeys.createApiKey({ name: `job ${made}`.repeat(20), scopes: ["a:view"] });
  }
  const session = http2.connect(service.url);
  const asked = session.request({
    ":method": "POST",
    ":path": "/patchbay.apikeys.v1.ApiKeyService/ListApiKeys",
    "content-type": "application/grpc-web+proto",
    "grpc-accept-encoding": "br",
    authorization: `Bearer ${service.org.secret}`,
  });
  asked.end(Buffer.from([0, 0, 0, 0, 0]));
  const body = await buffer(asked);
  session.destroy();
  expect(body[0]).toBe(1);
  expect(brotliDecompressSync(body.subarray(5, 5 + body.readUInt32BE(1))).length).toBeGreaterThan(1024);
});

describe("the coding of a Connect request is known by its name in any case", () => {
  const health = "/grpc.health.v1.Health/Check";
  test.each(
    [unary, health].flatMap((path) =>
      ["gzip", "GZIP", "x-gzip", "X-GZip", "Identity"].map((coding) => [path, coding] as const),
    ),
  )("to %s in %s", async (path, coding) => {
    const response = await fetch(service.url + path, {
      method: "POST",
      headers: {
        authorization: `Bearer ${service.org.secret}`,
        "content-type": "application/json",
        "content-encoding": coding,
      },
      body: coding === "Identity" ? "{}" : gzipSync("{}"),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("accept-encoding")).toBeNull();
  });
});
