import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import type { FormPart } from "./form-parts.ts";
import { percentEncoding, reserved, unreserved, type Kept } from "./percent.ts";
import type { Part, StyledPair } from "./styles.ts";

/** The parts as `application/x-www-form-urlencoded`, in which bytes are base64. */
export async function formText(parts: readonly FormPart[]): Promise<Buffer> {
  return Buffer.from(await inTurns(pairsEncoded(parts)), "latin1");
}

const pairsPerTurn = 500;

function* pairsEncoded(parts: readonly FormPart[]): LongWork<string> {
  const pairs: string[] = [];
  for (const { file, ...part } of parts) {
    const value = file ? [file.bytes.toString("base64")] : part.value;
    pairs.push((yield* encodedPair({ ...part, value })).join("="));
    if (pairs.length % pairsPerTurn === 0) yield;
  }
  return pairs.join("&");
}

/** Name and value as they stand in a query or in such a form. */
export function* encodedPair(
  pair: StyledPair & { readonly allowReserved?: boolean | undefined },
): LongWork<[name: string, value: string]> {
  const { name, value, allowReserved } = pair;
  return [
    yield* encodedParts(name, unreserved),
    yield* encodedParts(value, allowReserved === true ? reserved : unreserved),
  ];
}

/** A comma is a delimiter in URLs, and the other joints are not allowed there as they are. */
function* encodedParts(parts: readonly Part[], kept: Kept): LongWork<string> {
  let text = "";
  for (const part of parts) {
    if (typeof part === "string") text += yield* percentEncoding(part, kept);
    else text += part.joint === "," ? "," : yield* percentEncoding(part.joint);
  }
  return text;
}
