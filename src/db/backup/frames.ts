import { createHash } from "node:crypto";
import { BackupDamaged } from "./errors.ts";

/**
 * What a backup is made of, inside its compression: frames of a letter, a length in 4 bytes and so many bytes. Lengths,
 * because the rows in between hold any byte; a bound, because a damaged length must not be reserved as memory.
 */
export interface Frame {
  /** `M`anifest, `T`able, `D`ata, `E`nd of a table, `Z` for the end of all. */
  readonly kind: FrameKind;
  readonly body: Buffer;
}

type FrameKind = "M" | "T" | "D" | "E" | "Z";

const kinds = "MTDEZ";
const headBytes = 5;
const mostBytes = 16 * 1024 * 1024;

export function frame(kind: FrameKind, body: Buffer): Buffer {
  if (body.length > mostBytes) throw new Error(`a frame of a backup may not hold ${body.length} bytes`);
  return Buffer.concat([headOf({ kind, body }), body]);
}

/** The bytes in front of a frame's body. */
export function headOf({ kind, body }: Frame): Buffer {
  const head = Buffer.alloc(headBytes);
  head.write(kind, 0, "latin1");
  head.writeUInt32BE(body.length, 1);
  return head;
}

export function jsonFrame(kind: FrameKind, body: unknown): Buffer {
  return frame(kind, Buffer.from(JSON.stringify(body)));
}

/** Cuts what was decompressed into frames; fails if it ends inside of one. */
export async function* framesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let waiting: Buffer[] = [];
  let size = 0;
  let needed = headBytes;
  for await (const piece of pieces) {
    waiting.push(piece);
    size += piece.length;
    if (size < needed) continue;
    let rest = Buffer.concat(waiting);
    needed = frameBytes(rest);
    while (rest.length >= needed) {
      yield { kind: kindOf(rest), body: rest.subarray(headBytes, needed) };
      rest = rest.subarray(needed);
      needed = frameBytes(rest);
    }
    waiting = [rest];
    size = rest.length;
  }
  if (size > 0) throw new BackupDamaged("it ends in the middle");
}

/** The length of the whole frame, or that of its head as long as that is not there. */
function frameBytes(start: Buffer): number {
  if (start.length < headBytes) return headBytes;
  const bytes = start.readUInt32BE(1);
  if (bytes > mostBytes) throw new BackupDamaged("it holds a length that no backup has");
  return headBytes + bytes;
}

function kindOf(start: Buffer): FrameKind {
  const kind = start.toString("latin1", 0, 1);
  if (!kinds.includes(kind)) throw new BackupDamaged("it holds a part of an unknown kind");
  return kind as FrameKind;
}

/** Counts and hashes rows in the form of COPY: each ends with a line feed, and none holds another. */
export function createRowSum(): { add(piece: Buffer): void; end(): { rows: number; sha256: string } } {
  const hash = createHash("sha256");
  let rows = 0;
  return {
    add(piece) {
      hash.update(piece);
      for (let at = piece.indexOf(10); at !== -1; at = piece.indexOf(10, at + 1)) rows++;
    },
    end: () => ({ rows, sha256: hash.digest("hex") }),
  };
}
