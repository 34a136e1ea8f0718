import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

/** Answers of fewer bytes are sent as they are: it would cost more than it saves. */
const compressFromBytes = 1024;

const gzipped = promisify(gzip);
const brotlied = promisify(brotliCompress);

/**
 * What messages may be compressed with. Brotli at the level at which it takes as long as gzip: its usual one, for files
 * that are compressed once, takes a second for each megabyte.
 */
export const compressions = [
  { ...compressionGzip, compress: (bytes: Uint8Array) => gzipped(bytes) },
  {
    ...compressionBrotli,
    compress: (bytes: Uint8Array) => brotlied(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
  },
];

const known = compressions.map(({ name }) => name);

type Compression = (typeof compressions)[number];

/** The first compression that the caller takes, as its `accept-encoding` or `grpc-accept-encoding` lists them. */
export function compressionFor(accepted: string | string[] | undefined): Compression | undefined {
  for (const name of [accepted ?? ""].flat().join().split(",")) {
    const found = compressions.find((one) => one.name === name.trim());
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The bytes, compressed if there is something to compress them with and they are long enough. */
export async function compressed(
  plain: Buffer,
  compression: Compression | undefined,
): Promise<{ body: Buffer; coding?: string }> {
  if (compression === undefined || plain.length < compressFromBytes) return { body: plain };
  return { body: await compression.compress(plain), coding: compression.name };
}

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
