import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { turnsOf, type Waiting } from "#src/platform/turns.ts";
import { isCompressible } from "./compressible.ts";

/** A way to make bytes fewer, by the name that it has in headers. */
export interface Compressor {
  readonly name: "gzip" | "br";
  /** Throws, as the waiting says, if the bytes do not get their turn. */
  readonly compress: (bytes: Uint8Array, wait?: Waiting) => Promise<Buffer<ArrayBuffer>>;
}

type Compress = (bytes: Uint8Array) => Promise<Buffer<ArrayBuffer>>;

const gzipped = promisify(gzip);
const brotlied = promisify(brotliCompress);

/** As long as this is the output of one piece of work of a thread: a long answer would take hundreds of turns. */
const chunkSize = 256 * 1024;

/** What is compressed already is only framed, which takes a thirtieth of the time. */
async function gzipOf(bytes: Uint8Array): Promise<Buffer<ArrayBuffer>> {
  const level = (await isCompressible(bytes)) ? constants.Z_DEFAULT_COMPRESSION : constants.Z_NO_COMPRESSION;
  return gzipped(bytes, { chunkSize, level });
}

/**
 * Brotli at the level at which it takes as long as gzip: its usual one, for files that are compressed once, takes a
 * second for each megabyte. And with a window of 256 KiB: its usual one takes 20 MB for a long answer, and makes it no
 * shorter.
 */
async function brotliOf(bytes: Uint8Array): Promise<Buffer<ArrayBuffer>> {
  const level = (await isCompressible(bytes)) ? 4 : constants.BROTLI_MIN_QUALITY;
  const params = { [constants.BROTLI_PARAM_QUALITY]: level, [constants.BROTLI_PARAM_LGWIN]: 18 };
  return brotlied(bytes, { chunkSize, params });
}

/** What answers are compressed with. Of two that a caller likes equally and does not name, the first is taken. */
export const compressors: readonly Compressor[] = [
  { name: "gzip", compress: inTurn(gzipOf) },
  { name: "br", compress: inTurn(brotliOf) },
];

/** More than this takes long: a mebibyte some 20 ms. */
const longBytes = 1024 * 1024;

/**
 * Node has four threads for this, and for the look-ups of names: one is always left. Each compression has up to 8 MB
 * beside its bytes, which is why there are not more at once. Long answers hold up no short ones.
 */
function inTurn(compress: Compress): Compressor["compress"] {
  return (bytes, wait) => (bytes.length > longBytes ? longTurns : shortTurns)(() => compress(bytes), wait);
}

const shortTurns = turnsOf(2);
const longTurns = turnsOf(1);
