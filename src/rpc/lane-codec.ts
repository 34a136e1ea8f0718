import type { ConnectError } from "@connectrpc/connect";
import type { Exchange } from "#src/pipeline/exchange.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { contentTypeOf, type Request } from "#src/platform/http.ts";
import { compressions } from "./compression.ts";
import { connectCodecs } from "./connect-codec.ts";
import { grpcCodec } from "./grpc-codec.ts";

/** What the codecs need of the service around them. */
export interface LaneParts {
  readonly readMaxBytes: number;
  /** The deadline of a call whose caller sets none, or a later one. */
  readonly timeoutMs: number;
  /** What its caller may see of anything thrown. */
  readonly report: (thrown: unknown, exchange: Exchange) => ConnectError;
}

/**
 * Chooses the codec of a unary call that takes the lane; undefined leaves it to Connect: gRPC-Web, GET, gRPC over
 * HTTP/1.1, and all that will be refused for its form.
 */
export function createCodecs(parts: LaneParts): (request: Request) => Codec | undefined {
  const connect = connectCodecs(parts);
  const grpc = grpcCodec(parts);

  return (request) => {
    const { method, headers, httpVersionMajor } = request;
    if (method !== "POST") return undefined;
    const type = contentTypeOf(request);
    if (httpVersionMajor === 2 && /^application\/grpc(?:\+proto)?$/.test(type)) {
      return isKnown(headers["grpc-encoding"]) ? grpc : undefined;
    }
    if (!isKnown(headers["content-encoding"])) return undefined;
    if (/^application\/json(?:; ?charset=utf-?8)?$/.test(type)) return connect.json;
    return type === "application/proto" ? connect.proto : undefined;
  };
}

function isKnown(encoding: string | string[] | undefined): boolean {
  return (
    encoding === undefined || encoding === "identity" || compressions.some(({ name }) => name === encoding)
  );
}
