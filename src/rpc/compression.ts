import { AsyncLocalStorage } from "node:async_hooks";
import { compressors } from "#src/pipeline/compressors.ts";
import { toConnectError } from "#src/pipeline/failures.ts";
import type { Holding } from "#src/platform/byte-budget.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { Request } from "#src/platform/http.ts";
import { compressFromBytes, compressionFor, type Compression } from "#src/pipeline/compression.ts";
import { decompress } from "./decompress.ts";

/** The call that Connect serves, which it does not hand on to what compresses and inflates its messages. */
interface ServedCall {
  /** Aborted when its caller is gone. */
  readonly gone: AbortSignal;
  /** Aborted by its deadline as well: then no message of it is read any more, but its answer is still to be sent. */
  readonly over: AbortSignal;
  readonly holding: Holding | undefined;
}

const calls = new AsyncLocalStorage<ServedCall>();

/** Serves a call whose messages are counted while they are compressed and inflated, which ends with the call. */
export function compressingFor<T>(call: ServedCall, serve: () => Promise<T>): Promise<T> {
  return calls.run(call, serve);
}

/** What messages may be compressed with, as Connect takes it: it undoes them, up to a limit. */
export const compressions = compressors.map(({ name, compress }) => ({
  name,
  compress(bytes: Uint8Array) {
    const call = calls.getStore();
    call?.holding?.become(2 * bytes.length);
    return compress(bytes, { signal: call?.gone });
  },
  async decompress(bytes: Uint8Array, maxBytes: number) {
    const call = calls.getStore();
    try {
      const plain = await decompress(name, bytes, maxBytes, { signal: call?.over, holding: call?.holding });
      return ownBytes(plain);
    } catch (error) {
      throw error instanceof ServiceError ? toConnectError(error) : error;
    }
  },
}));

/** Connect takes no memory that threads share, which this never is. */
function ownBytes(bytes: Buffer): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = bytes;
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, length) : new Uint8Array(bytes);
}

const known: readonly string[] = compressions.map(({ name }) => name);

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

/** Writes the coding of a Connect request as it is known here: its name is in any case (RFC 9110, 8.4.1). */
export function tidyCoding({ headers }: Request): void {
  const given = headers["content-encoding"];
  if (given !== undefined) headers["content-encoding"] = given.toLowerCase().replace(/^x-gzip$/, "gzip");
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
