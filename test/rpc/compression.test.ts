import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { once } from "node:events";
import http2 from "node:http2";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
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
