/** Just enough of HTTP/2's framing to be a client that behaves badly on purpose. */
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

const endStream = 0x1;
const endHeaders = 0x4;

export function settings(): Buffer {
  return frame(0x4, 0, 0, Buffer.alloc(0));
}

/** Asks for `GET /…` on a stream of its own. With `open`, the end of the request is never sent. */
export function get(stream: number, path: string, { open = false } = {}): Buffer {
  // HPACK: two entries of the static table, then two literals whose names are in it.
  const block = Buffer.concat([Buffer.from([0x82, 0x86]), literal(4, path), literal(1, "localhost")]);
  return frame(0x1, endHeaders | (open ? 0 : endStream), stream, block);
}

export function reset(stream: number): Buffer {
  return frame(0x3, 0, stream, Buffer.from([0, 0, 0, 8]));
}

/** The frames in what a server sent, as far as they are whole. */
export function* framesIn(
  bytes: Buffer,
): Generator<{ type: number; flags: number; stream: number; payload: Buffer }> {
  for (let at = 0; at + 9 <= bytes.length;) {
    const length = bytes.readUIntBE(at, 3);
    yield {
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    };
    at += 9 + length;
  }
}

export const frameType = { data: 0x0, headers: 0x1, reset: 0x3, settings: 0x4, goaway: 0x7 } as const;

function literal(name: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([name, value.length]), Buffer.from(value)]);
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
