import type { Transform } from "node:stream";
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from "node:zlib";
import { inflate } from "#src/platform/inflate.ts";
import { Pieces } from "#src/platform/pieces.ts";

/** The codings that `inflated` reads, as we ask for them. */
export const acceptedCodings = "gzip, deflate, br";

/** Takes bytes from the caller's budget, before they are held. Throws if there is no room, or no caller any more. */
export type Hold = (bytes: number) => void;

/** Pieces of a body, within the limit. They are held twice: at the end, memory has both them and the whole. */
export function heldPieces(limitBytes: number, hold: Hold): Pieces {
  return new Pieces(limitBytes, (bytes) => hold(2 * bytes));
}

/** The codings of a body that change it, in the order in which they were applied (RFC 9110, 8.4). */
export function codingsOf(contentEncoding: string): string[] {
  const codings = contentEncoding.split(",").map((coding) => coding.trim().toLowerCase());
  // Some services say `none` where they mean nothing.
  return codings.filter((coding) => !["", "identity", "none"].includes(coding));
}

/** Whether `inflated` reads this coding. */
export function isReadable(coding: string): boolean {
  return ["gzip", "x-gzip", "deflate", "br"].includes(coding);
}

/** The body without its content coding. The limit counts what comes out: 200 KB of gzip can be 200 MB. */
export async function inflated(
  body: Buffer,
  coding: string,
  limitBytes: number,
  hold: Hold,
): Promise<Buffer | "damaged" | "too large"> {
  const inflater = inflaterOf(body, coding, "strict");
  try {
    return (await inflate(inflater, body, heldPieces(limitBytes, hold))) ?? "too large";
  } catch (error) {
    if (error !== inflater.errored) throw error;
    return "damaged";
  }
}

/** What comes out of a damaged or cut-off body, up to the damage. */
export async function inflatedInPart(
  body: Buffer,
  coding: string,
  limitBytes: number,
  hold: Hold,
): Promise<Buffer> {
  const inflater = inflaterOf(body, coding, "lenient");
  // A step that fails gives nothing, so the checksum at the end, of 4 or 8 bytes, gets a step of its own.
  inflater.write(body.subarray(0, -8));
  inflater.end(body.subarray(-8));
  const pieces = heldPieces(limitBytes, hold);
  try {
    for await (const piece of inflater as AsyncIterable<Buffer>) if (!pieces.add(piece)) break;
  } catch (error) {
    if (error !== inflater.errored) throw error;
    // The damage begins here.
  }
  return pieces.whole();
}

/** What inflates a body that begins so; leniently, also one that is cut off. */
export function inflaterOf(body: Buffer, coding: string, reading: "strict" | "lenient"): Transform {
  const isLenient = reading === "lenient";
  const zlibOptions = { finishFlush: isLenient ? constants.Z_SYNC_FLUSH : constants.Z_FINISH };
  switch (coding) {
    case "br":
      return createBrotliDecompress({
        finishFlush: isLenient ? constants.BROTLI_OPERATION_FLUSH : constants.BROTLI_OPERATION_FINISH,
      });
    case "deflate":
      // `deflate` means zlib's format, but many servers send the raw stream; the first four bits show which it is.
      return ((body[0] ?? 0) & 0x0f) === 8 ? createInflate(zlibOptions) : createInflateRaw(zlibOptions);
    default:
      return createGunzip(zlibOptions);
  }
}
