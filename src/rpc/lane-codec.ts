import type { ConnectError } from "@connectrpc/connect";
import type { Exchange } from "#src/pipeline/exchange.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { contentTypeOf, type Request } from "#src/platform/http.ts";
import { compressions } from "./compression.ts";
import { connectCodec } from "./connect-codec.ts";
import { grpcCodec } from "./grpc-codec.ts";
import { grpcWebCodec } from "./grpc-web-codec.ts";
import { json, proto } from "./message-format.ts";

/** What the codecs need of the service around them. */
export interface LaneParts {
  /** What its caller may see of anything thrown. */
  readonly report: (thrown: unknown, exchange: Exchange) => ConnectError;
}

/**
 * Chooses the codec of a unary call that takes the lane, which is each whose message may be long. Undefined leaves it
 * to Connect, which reads a message in one go: GET, whose message is no longer than a URL, and what is refused for its
 * form with its body unread: another verb, another content type (such as `application/grpc-web-text`), or a compression
 * that is not known.
 */
export function createCodecs(parts: LaneParts): (request: Request) => Codec | undefined {
  const grpc = grpcCodec(parts, proto);
  const grpcWeb = grpcWebCodec(parts, proto);
  const codecs = new Map([
    ["application/json", connectCodec(parts, json)],
    ["application/proto", connectCodec(parts, proto)],
    ["application/grpc", grpc],
    ["application/grpc+proto", grpc],
    ["application/grpc+json", grpcCodec(parts, json)],
    ["application/grpc-web", grpcWeb],
    ["application/grpc-web+proto", grpcWeb],
    ["application/grpc-web+json", grpcWebCodec(parts, json)],
  ]);

  return (request) => {
    if (request.method !== "POST") return undefined;
    const type = contentTypeOf(request).replace(/(?<=json); ?charset=utf-?8$/, "");
    const encoding = type.startsWith("application/grpc") ? "grpc-encoding" : "content-encoding";
    return isKnown(request.headers[encoding]) ? codecs.get(type) : undefined;
  };
}

function isKnown(encoding: string | string[] | undefined): boolean {
  return (
    encoding === undefined || encoding === "identity" || compressions.some(({ name }) => name === encoding)
  );
}
