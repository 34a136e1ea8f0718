import { readBody } from "#src/pipeline/body.ts";
import { compressors } from "#src/pipeline/compressors.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
import { decompress } from "./decompress.ts";
import { messageTooLarge } from "./framework-failure.ts";

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

/** The bytes, inflated if they came in a coding, which has one of the names that are known. */
export async function inflated(
  bytes: Buffer,
  coding: string | undefined,
  exchange: Pick<Exchange, "signal" | "holding">,
  maxBytes: number,
): Promise<Uint8Array> {
  const compressor = compressors.find(({ name }) => name === coding);
  return compressor === undefined ? bytes : decompress(compressor.name, bytes, maxBytes, exchange);
}
