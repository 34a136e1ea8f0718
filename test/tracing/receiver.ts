import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

/** A span as the receiver reads it. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly isError: boolean;
}

/** A collector of traces, played on this machine. It reads protobuf by the numbers of OTLP's own documents. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  readonly resources: readonly Readonly<Record<string, unknown>>[];
  /** All that came, as bytes. */
  readonly bodies: readonly Buffer[];
  readonly headers: readonly IncomingHttpHeaders[];
  /** Answers with this status from now on; `hang` answers nothing. */
  answer(status: number | "hang"): void;
}

/** Starts the collector. */
export async function startReceiver(): Promise<Receiver> {
  const spans: ReceivedSpan[] = [];
  const resources: Record<string, unknown>[] = [];
  const bodies: Buffer[] = [];
  const headers: IncomingHttpHeaders[] = [];
  let status: number | "hang" = 200;
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      if (status === "hang") return;
      const body = Buffer.concat(pieces);
      const isOurs =
        request.url === "/v1/traces" && request.headers["content-type"] === "application/x-protobuf";
      if (isOurs && status === 200) {
        bodies.push(body);
        headers.push(request.headers);
        for (const one of fieldsOf(body).get(1) ?? []) readResourceSpans(one as Uint8Array, spans, resources);
      }
      response.writeHead(isOurs ? status : 404).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ spans, resources, bodies, headers },
    answer: (next) => (status = next),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Field = Uint8Array | bigint | number;

/** The fields of a message by their numbers, undecoded. */
function fieldsOf(bytes: Uint8Array): Map<number, Field[]> {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, Field[]>();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const values = fields.get(number) ?? [];
    values.push(readField(reader, number, type));
    fields.set(number, values);
  }
  return fields;
}

function readField(reader: BinaryReader, number: number, type: WireType): Field {
  if (type === WireType.LengthDelimited) return reader.bytes();
  if (type === WireType.Varint) return BigInt(reader.uint64());
  if (type === WireType.Bit64) return BigInt(reader.fixed64());
  if (type === WireType.Bit32) return reader.fixed32();
  throw new Error(`field ${number} has the wire type ${type}`);
}

const bytesIn = (fields: Map<number, Field[]>, number: number) =>
  (fields.get(number)?.[0] ?? new Uint8Array()) as Uint8Array;
const numberIn = (fields: Map<number, Field[]>, number: number) => (fields.get(number)?.[0] ?? 0n) as bigint;
const textIn = (fields: Map<number, Field[]>, number: number) =>
  Buffer.from(bytesIn(fields, number)).toString();
const hexIn = (fields: Map<number, Field[]>, number: number) =>
  Buffer.from(bytesIn(fields, number)).toString("hex");

function readResourceSpans(
  bytes: Uint8Array,
  spans: ReceivedSpan[],
  resources: Record<string, unknown>[],
): void {
  const fields = fieldsOf(bytes);
  resources.push(attributesIn(fieldsOf(bytesIn(fields, 1)), 1));
  for (const scope of fields.get(2) ?? []) {
    for (const span of fieldsOf(scope as Uint8Array).get(2) ?? []) spans.push(readSpan(span as Uint8Array));
  }
}

function readSpan(bytes: Uint8Array): ReceivedSpan {
  const fields = fieldsOf(bytes);
  return {
    traceId: hexIn(fields, 1),
    spanId: hexIn(fields, 2),
    parentSpanId: hexIn(fields, 4),
    name: textIn(fields, 5),
    kind: Number(numberIn(fields, 6)),
    startNanos: numberIn(fields, 7),
    endNanos: numberIn(fields, 8),
    attributes: attributesIn(fields, 9),
    isError: numberIn(fieldsOf(bytesIn(fields, 15)), 3) === 2n,
  };
}

function attributesIn(fields: Map<number, Field[]>, number: number): Record<string, unknown> {
  const pairs = (fields.get(number) ?? []).map((bytes) => {
    const pair = fieldsOf(bytes as Uint8Array);
    const value = fieldsOf(bytesIn(pair, 2));
    if (value.has(1)) return [textIn(pair, 1), textIn(value, 1)];
    if (value.has(2)) return [textIn(pair, 1), numberIn(value, 2) === 1n];
    return [textIn(pair, 1), Number(numberIn(value, 3))];
  });
  return Object.fromEntries(pairs) as Record<string, unknown>;
}
