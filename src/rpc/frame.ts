import { lengthOf, type Pieced, whole } from "#src/platform/bytes.ts";

/** How long what stands before each frame of gRPC and gRPC-Web is: flags, and the length of what follows. */
export const prefixBytes = 5;

export const compressedFlag = 0x01;
/** Of gRPC-Web. */
export const trailersFlag = 0x80;

/** Most frames are short, and leave in one piece. */
const shortBytes = 16 * 1024;

/** A message or trailers, framed. */
export function frame(flags: number, bytes: Pieced): Pieced {
  const prefix = Buffer.alloc(prefixBytes);
  const length = lengthOf(bytes);
  prefix[0] = flags;
  prefix.writeUInt32BE(length, 1);
  const pieces = [prefix, ...bytes];
  return length > shortBytes ? pieces : [whole(pieces)];
}
