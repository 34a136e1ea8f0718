import type { Answer, Codec } from "#src/pipeline/lane.ts";
import type { Pieced } from "#src/platform/bytes.ts";
import { frame, trailersFlag } from "./frame.ts";
import { grpcCodec } from "./grpc-codec.ts";
import type { LaneParts } from "./lane-codec.ts";
import type { MessageFormat } from "./message-format.ts";

/** Unary calls of gRPC-Web (gRPC's PROTOCOL-WEB.md): those of gRPC, whose trailers are the last frame of the body. */
export function grpcWebCodec(parts: LaneParts, format: MessageFormat): Codec {
  const grpc = grpcCodec(parts, format, trailersFlag);

  function withTrailersInside({ status, headers, body, trailers = {} }: Answer): Answer {
    return {
      status,
      headers: { ...headers, "content-type": `application/grpc-web+${format.name}` },
      body: [...(body ?? []), ...trailersFrame(trailers)],
    };
  }

  return {
    ...grpc,
    protocolName: "grpc-web",
    answer: async (exchange, message) => withTrailersInside(await grpc.answer(exchange, message)),
    refuse: async (exchange, thrown) => withTrailersInside(await grpc.refuse(exchange, thrown)),
  };
}

function trailersFrame(trailers: Readonly<Record<string, string>>): Pieced {
  const names = Object.keys(trailers).toSorted();
  const text = names.map((name) => `${name.toLowerCase()}: ${trailers[name]}\r\n`).join("");
  return frame(trailersFlag, [Buffer.from(text)]);
}
