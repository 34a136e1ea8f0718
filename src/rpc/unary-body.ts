import { type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { readBody } from "#src/pipeline/body.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
import { explainFramework } from "./framework-failure.ts";

/** The body, refused in the words for messages if it is larger than they may be. */
export async function readMessage({ request, holding }: Exchange, maxBytes: number): Promise<Buffer> {
  const bytes = await readBody(request, maxBytes, holding);
  if (bytes === undefined) throw messageTooLarge(maxBytes);
  return bytes;
}

/** The message is larger than may be read. */
export function messageTooLarge(maxBytes: number) {
  return explainFramework(Code.ResourceExhausted, `larger than readMaxBytes ${maxBytes}`);
}

/** The message that these bytes are. */
export function messageFromBinary(desc: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(desc, bytes);
  } catch {
    throw explainFramework(Code.Internal, "");
  }
}
