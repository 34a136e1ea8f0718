import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

/** What messages may be compressed with. */
export const compressions = [compressionGzip, compressionBrotli];

const known = compressions.map(({ name }) => name);

/**
 * The header with which a reply names the compressions that are known, if the request has another one: that is how
 * clients learn what to use instead (gRPC's compression.md; connectrpc.com/docs/protocol).
 */
export function acceptedCompressions(requestType: string, header: Headers): [string, string] | undefined {
  const prefix = prefixOf(requestType);
  const encoding = header.get(prefix === "grpc-" ? "grpc-encoding" : `${prefix}content-encoding`);
  if (encoding === null || encoding === "identity" || known.includes(encoding)) return undefined;
  return [`${prefix}accept-encoding`, known.join(",")];
}

function prefixOf(requestType: string): "grpc-" | "connect-" | "" {
  if (requestType.startsWith("application/grpc")) return "grpc-";
  return requestType.startsWith("application/connect+") ? "connect-" : "";
}
