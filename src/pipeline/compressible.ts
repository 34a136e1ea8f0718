import { promisify } from "node:util";
import { deflateRaw } from "node:zlib";

const deflated = promisify(deflateRaw);

/** Shorter messages cost little to compress. */
const longBytes = 128 * 1024;
const sampleBytes = 4 * 1024;

/** Whether it is worth it to compress the bytes, as a few pieces of them tell: images and archives are compressed already. */
export async function isCompressible(bytes: Uint8Array): Promise<boolean> {
  if (bytes.length < longBytes) return true;
  const last = bytes.length - sampleBytes;
  const samples = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const start = Math.floor(last * share);
    return bytes.subarray(start, start + sampleBytes);
  });
  const sample = Buffer.concat(samples);
  return (await deflated(sample, { level: 1 })).length < 0.9 * sample.length;
}
