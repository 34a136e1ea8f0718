import { promisify } from "node:util";
import {
  brotliDecompress,
  gunzip,
  inflate,
  inflateRaw,
  type BrotliOptions,
  type ZlibOptions,
} from "node:zlib";
import { UpstreamTooLarge, UpstreamUnreachable } from "./errors.ts";

/** The codings that `inflated` reads, as we ask for them. */
export const acceptedCodings = "gzip, deflate, br";

/** Everything the stream has to give, up to the limit. */
export async function readAll(
  stream: AsyncIterable<Buffer>,
  limitBytes: number,
  host: string,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > limitBytes) throw tooLarge(host, limitBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

/**
 * The body without its content coding. The limit counts what comes out: 200 KB of gzip can be 200 MB. Two
 * codings on top of each other are refused, since each multiplies what the other one hides.
 */
export async function inflated(
  body: Buffer,
  coding: string,
  limitBytes: number,
  host: string,
): Promise<Buffer> {
  const inflater = inflaterOf(coding.trim().toLowerCase(), body);
  if (inflater === undefined) {
    throw new UpstreamUnreachable("HTTP", host, `answered in a content coding other than ${acceptedCodings}`);
  }
  try {
    return await inflater(body, { maxOutputLength: limitBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(host, limitBytes);
    throw new UpstreamUnreachable("HTTP", host, "answered with a compressed body that is damaged or cut off");
  }
}

type Inflater = (body: Buffer, options: ZlibOptions & BrotliOptions) => Promise<Buffer>;

function inflaterOf(coding: string, body: Buffer): Inflater | undefined {
  switch (coding) {
    case "gzip":
    case "x-gzip":
      return promisify<Buffer, ZlibOptions, Buffer>(gunzip);
    case "deflate":
      // Meant is zlib's format, but many servers send the raw stream; the first four bits tell.
      return promisify<Buffer, ZlibOptions, Buffer>((body[0]! & 0x0f) === 8 ? inflate : inflateRaw);
    case "br":
      return promisify<Buffer, BrotliOptions, Buffer>(brotliDecompress);
    default:
      return undefined;
  }
}

function tooLarge(host: string, limitBytes: number): UpstreamTooLarge {
  const limit =
    limitBytes >= 1024 * 1024 ? `${Math.floor(limitBytes / 1024 / 1024)} MiB` : `${limitBytes} bytes`;
  return new UpstreamTooLarge(host, `answered with more than ${limit}; ask it for less, such as one page`);
}
