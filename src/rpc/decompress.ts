import { addAbortSignal, type Transform } from "node:stream";
import { createBrotliDecompress, createGunzip } from "node:zlib";
import type { Holding } from "#src/platform/byte-budget.ts";
import { inflate } from "#src/platform/inflate.ts";
import { Pieces } from "#src/platform/pieces.ts";
import { turnsOf } from "#src/platform/turns.ts";
import { malformedRequest, messageTooLarge, undecodable } from "./framework-failure.ts";

/** The call whose message is inflated. */
export interface InflatingCall {
  /** Aborted when nobody waits for its answer any more. */
  readonly signal?: AbortSignal | undefined;
  readonly holding: Holding | undefined;
}

const inflaters = { gzip: createGunzip, br: createBrotliDecompress };

/** What more than this comes out of takes long, which nobody knows before. */
const shortBytes = 64 * 1024;
/** As long as these is the output of one piece of work of a thread: a long message would take hundreds of turns. */
const [shortChunk, longChunk] = [16 * 1024, 256 * 1024];

/**
 * An inflater has up to 16 MiB beside its bytes, if a caller wants that: it is brotli's window. No budget counts those,
 * which is why there are not more at once. Short messages wait for no long ones.
 */
const shortTurns = turnsOf(2);
const longTurns = turnsOf(1);

/** The bytes inflated. Refused if they are in no such coding, or are more than a message may have. */
export async function decompress(
  coding: keyof typeof inflaters,
  bytes: Uint8Array,
  maxBytes: number,
  call: InflatingCall,
): Promise<Buffer> {
  if (bytes.length === 0) return Buffer.of();
  const { signal, holding } = call;
  // Until it is known to be short it is not counted: it may be thrown away, and there are never many.
  const shortPieces = new Pieces(Math.min(shortBytes, maxBytes), () => undefined);
  const short = await shortTurns(
    () => inflated(inflaters[coding]({ chunkSize: shortChunk }), bytes, shortPieces, signal),
    call,
  );
  if (short !== undefined) {
    holding?.grow(short.length);
    return short;
  }
  if (maxBytes <= shortBytes) throw messageTooLarge(maxBytes);
  const longPieces = new Pieces(maxBytes, (more) => holding?.grow(more));
  const long = await longTurns(
    () => inflated(inflaters[coding]({ chunkSize: longChunk }), bytes, longPieces, signal),
    call,
  );
  if (long === undefined) throw messageTooLarge(maxBytes);
  return long;
}

async function inflated(
  inflater: Transform,
  bytes: Uint8Array,
  pieces: Pieces,
  signal: AbortSignal | undefined,
): Promise<Buffer | undefined> {
  if (signal !== undefined) addAbortSignal(signal, inflater);
  try {
    return await inflate(inflater, bytes, pieces);
  } catch (error) {
    signal?.throwIfAborted();
    throw error === inflater.errored ? damaged(error) : error;
  }
}

/** Bytes that are wrong, and not only cut off, are told from a message that is no message of its type. */
function damaged(error: unknown) {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const isWrong =
    code === "Z_DATA_ERROR" || code === "ERR_PADDING_2" || code.startsWith("ERR__ERROR_FORMAT_");
  return isWrong ? malformedRequest("decompression failed") : undecodable();
}
