import type { DescMethod } from "@bufbuild/protobuf";
import { services } from "#src/client/services.ts";
import { observeHttp1, type Step } from "./http1.ts";
import { observeHttp2, type Http2Step } from "./http2.ts";
import { readableHttp1, readableHttp2, type Readable } from "./readable.ts";
import type { Side } from "./two-ways.ts";

/** Every method with one question and one answer. */
export const unaryMethods = Object.values(services)
  .flatMap((service): readonly DescMethod[] => service.methods)
  .filter(({ methodKind }) => methodKind === "unary");

/** Where the method is called. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Where a client connects to. */
export type Wire = Pick<Side, "port">;

/** Header lines of HTTP/1.1, in their order; undefined ones are left out. */
export type Lines = readonly (string | undefined)[];

/** A request's head as bytes, with the headers that all calls of these tests have. */
export function head(requestLine: string, lines: Lines): string {
  const given = lines.filter((line) => line !== undefined);
  return [requestLine, ...given, "", ""].join("\r\n");
}

/** A call over HTTP/1.1; what is undefined is left out. */
export interface ConnectCall {
  readonly method: DescMethod;
  readonly secret?: string | undefined;
  readonly type?: string | undefined;
  readonly body?: string | Buffer;
  readonly query?: string | undefined;
  /** Further header lines. */
  readonly lines?: Lines;
}

/** The bytes of a call of Connect's unary protocol. */
export function connectBytes(call: ConnectCall, requestId: string): Buffer {
  const { method, secret, type = "application/json", body = "{}", query = "", lines = [] } = call;
  const bytes = Buffer.from(body);
  const text = head(`POST ${pathOf(method)}${query} HTTP/1.1`, [
    "host: service.test",
    `x-request-id: ${requestId}`,
    `content-type: ${type}`,
    `content-length: ${bytes.length}`,
    "connect-protocol-version: 1",
    secret === undefined ? undefined : `authorization: Bearer ${secret}`,
    ...lines,
  ]);
  return Buffer.concat([Buffer.from(text, "latin1"), bytes]);
}

/** Makes the call and shows what came. */
export async function callConnect(side: Wire, requestId: string, call: ConnectCall): Promise<Readable> {
  return sendHttp1(side, [connectBytes(call, requestId)], { method: call.method });
}

/** Sends any bytes over HTTP/1.1 and shows what came. */
export async function sendHttp1(
  side: Wire,
  steps: readonly Step[],
  { method, ...options }: { method?: DescMethod; answers?: number; head?: boolean } = {},
): Promise<Readable> {
  return readableHttp1(await observeHttp1(side.port, steps, options), method);
}

/** A call over HTTP/2; headers that are undefined are left out. */
export interface Http2Call {
  readonly method: DescMethod;
  readonly secret?: string | undefined;
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly steps?: readonly Http2Step[];
  readonly untilAnswered?: boolean;
}

/** Makes a call over HTTP/2, of gRPC unless the headers say otherwise, and shows what came. */
export async function callHttp2(side: Wire, requestId: string, call: Http2Call): Promise<Readable> {
  const { method, secret, headers = {}, steps = [frame(), "end"], untilAnswered = false } = call;
  const all: Record<string, string | string[] | undefined> = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "service.test",
    ":path": pathOf(method),
    "content-type": "application/grpc",
    te: "trailers",
    "x-request-id": requestId,
    authorization: secret === undefined ? undefined : `Bearer ${secret}`,
    ...headers,
  };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return readableHttp2(await observeHttp2(side.port, given, steps, { untilAnswered }), method);
}

/** A message in gRPC's framing; `length` lies about it. */
export function frame(
  message: Uint8Array = Buffer.alloc(0),
  { flags = 0, length = message.length } = {},
): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags, 0);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

/** Until the server has what was sent before, and a timer of a millisecond that it set then has fired. */
export async function passed(side: Side): Promise<void> {
  await fetch(`${side.service.url}/healthz`, { headers: { "x-request-id": "probe" } });
  await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Until all that the side was asked before has left its line in the log. */
export async function settled({ service }: Side): Promise<void> {
  for (let before = -1; before !== service.logged().length;) {
    before = service.logged().length;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
