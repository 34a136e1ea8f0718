import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { AsyncLocalStorage } from "node:async_hooks";
import { compressors } from "#src/pipeline/compressors.ts";
import type { Holding } from "#src/platform/byte-budget.ts";
import { compressFromBytes, compressionFor, type Compression } from "#src/pipeline/compression.ts";

/** The call that Connect serves, which it does not hand on to what compresses its messages. */
interface ServedCall {
  /** Aborted when its caller is. */
  readonly gone: AbortSignal;
  readonly holding: Holding | undefined;
}

const calls = new AsyncLocalStorage<ServedCall>();

/** Serves a call whose messages are counted while they are compressed, and not compressed for no caller any more. */
export function compressingFor<T>(call: ServedCall, serve: () => Promise<T>): Promise<T> {
  return calls.run(call, serve);
}

/** What messages may be compressed with, as Connect takes it: it undoes them, up to a limit. */
export const compressions = compressors.map(({ name, compress }) => {
  const adapter = [compressionGzip, compressionBrotli].find((one) => one.name === name);
  if (adapter === undefined) throw new Error(`Connect has nothing that undoes ${name}`);
  return {
    ...adapter,
    compress(bytes: Uint8Array) {
      const call = calls.getStore();
      call?.holding?.become(2 * bytes.length);
      return compress(bytes, { signal: call?.gone });
    },
  };
});

const known = compressions.map(({ name }) => name);

/**
 * The compression that a caller prefers; if it does not say, that of its request. No matter what it accepts, it takes a
 * message as it is.
 */
export function messageCompressionFor(
  accepted: string | string[] | undefined,
  asked: string | string[] | undefined,
): Compression | undefined {
  const found = compressionFor(accepted ?? asked);
  return found && { ...found, fromBytes: compressFromBytes };
}

/**
 * Puts our choice in place of what a unary call accepts, since Connect reads no weights. Without the header it answers
 * as it was asked.
 */
export function settleCompression(header: Headers): void {
  for (const name of ["accept-encoding", "grpc-accept-encoding"]) {
    const accepted = header.get(name);
    if (accepted !== null) header.set(name, compressionFor(accepted)?.name ?? "identity");
  }
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
