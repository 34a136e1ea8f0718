import { Code } from "@connectrpc/connect";
import { readBody } from "#src/pipeline/body.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
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

/** The message is larger than may be read. */
export function messageTooLarge(maxBytes: number) {
  return explainFramework(Code.ResourceExhausted, `larger than readMaxBytes ${maxBytes}`);
}
