import { Code, ConnectError } from "@connectrpc/connect";
import { readBody } from "#src/pipeline/body.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
import { compressions } from "./compression.ts";
import { explainFramework } from "./framework-failure.ts";

/** The body: a message, and what its protocol frames it with. Refused if that is more than a message may have. */
export async function readMessage(
  { request, holding }: Exchange,
  maxBytes: number,
  frameBytes = 0,
): Promise<Buffer> {
  const bytes = await readBody(request, maxBytes + frameBytes, holding);
  if (bytes === undefined) throw messageTooLarge(maxBytes);
  return bytes;
}

/**
 * The bytes, inflated if they came in a coding. It has one of the names that are known, and the bytes are refused if
 * they are in no such coding or are more than a message may have.
 */
export async function inflated(
  bytes: Buffer,
  coding: string | undefined,
  { holding }: Pick<Exchange, "holding">,
  maxBytes: number,
): Promise<Uint8Array> {
  const compression = compressions.find(({ name }) => name === coding);
  if (compression === undefined) return bytes;
  try {
    const plain = await compression.decompress(bytes, maxBytes);
    holding?.grow(plain.length);
    return plain;
  } catch (error) {
    throw error instanceof ConnectError ? explainFramework(error.code, error.rawMessage) : error;
  }
}

/** The message is larger than may be read. */
export function messageTooLarge(maxBytes: number) {
  return explainFramework(Code.ResourceExhausted, `larger than readMaxBytes ${maxBytes}`);
}
