import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from "node:http2";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { BaseUrl } from "./base-url.ts";
import type { Hold } from "./body.ts";
import type { Connector } from "./connector.ts";
import {
  CredentialReflected,
  InvalidOutboundRequest,
  UpstreamTimeout,
  UpstreamTooLarge,
  UpstreamUnreachable,
} from "./errors.ts";
import { moreThan, upstreamFailure } from "./failures.ts";
import { framed, FrameFault, FrameReader } from "./grpc-frames.ts";
import type { Injection, OutboundCredential } from "./injection.ts";
import type { OutboundLimits } from "./limits.ts";
import { requestTarget } from "./path.ts";
import { reflects } from "./reflection.ts";
import { headersOf, injectionFor, queryOf } from "./request-head.ts";

/** A call of gRPC in which each question has one answer, as its caller describes it. */
export interface DialogueRequest {
  /** The share that its socket and look-up belong to. */
  readonly share: string;
  readonly baseUrl: string;
  /** `/<package>.<Service>/<Method>`. */
  readonly path: string;
  /** Sent only to the base URL that it was stored for, or below that. */
  readonly credential: OutboundCredential;
  /** The most bytes of all answers together. */
  readonly maxAnswerBytes: number;
  readonly timeoutMs?: number;
  readonly hold: Hold;
  /** Called before the first byte is sent to the service. */
  readonly onSent?: () => void;
  /** Its reason ends the call at any time. */
  readonly signal: AbortSignal;
}

/** A call that is open. */
export interface Dialogue extends Disposable {
  /** Sends a question and waits for its answer. One at a time. Throws `GrpcStatus` if the service ends the call. */
  ask(question: Uint8Array): Promise<Buffer>;
}

/** The service ended the call with a status of gRPC. Its own words are left out: they are about the credential, maybe. */
export class GrpcStatus extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`the service ended the call with gRPC status ${code}`);
    this.code = code;
  }
}

/** Creates the call that goes back and forth: on a socket of its own, which is closed with it. */
export function createOpenDialogue(parts: {
  limits: OutboundLimits;
  targetOf: (baseUrl: string) => BaseUrl;
  takeSlot: (request: DialogueRequest, target: BaseUrl) => Promise<Disposable>;
  connectorOf: (request: DialogueRequest, injection: Injection) => Connector;
}): (request: DialogueRequest) => Promise<Dialogue> {
  const { limits, targetOf, takeSlot, connectorOf } = parts;

  return async (request) => {
    const { signal } = request;
    signal.throwIfAborted();
    const target = targetOf(request.baseUrl);
    using stack = new DisposableStack();
    stack.use(await takeSlot(request, target));
    const injection = injectionFor(target, request.credential);
    const headers = headOf(target, request, injection);
    const connector = stack.adopt(connectorOf(request, injection), (one) => one.close());
    const socket = stack.adopt(await opened(connector, target), (one) => one.destroy());
    signal.throwIfAborted();
    const session = stack.adopt(sessionOn(socket, target, limits), (one) => one.destroy());
    request.onSent?.();
    const stream = session.request(headers, { endStream: false });
    return new OpenDialogue({ request, target, injection, limits, stream, ending: stack.move() });
  };
}

function headOf(target: BaseUrl, request: DialogueRequest, injection: Injection) {
  if (Object.keys(injection.body).length > 0) {
    throw new InvalidOutboundRequest(
      "the credential goes into the body, and a call of gRPC has none that it fits into",
    );
  }
  const fields = headersOf({}, injection);
  fields.delete("accept-encoding");
  return {
    ":method": "POST",
    ":path": requestTarget(target.path, request.path, queryOf([], injection)),
    "content-type": "application/grpc",
    te: "trailers",
    ...Object.fromEntries(fields),
  };
}

async function opened(connector: Connector, { origin, host, port }: BaseUrl): Promise<Socket> {
  const { protocol } = new URL(origin);
  const where = { hostname: host, host, protocol, port: String(port) };
  try {
    return await new Promise((resolve, reject) => {
      connector.connect(where, (...[error, socket]) => (error === null ? resolve(socket) : reject(error)));
    });
  } catch (error) {
    throw upstreamFailure(error, host);
  }
}

function sessionOn(socket: Socket, { origin, host }: BaseUrl, limits: OutboundLimits): ClientHttp2Session {
  if (socket instanceof TLSSocket && socket.alpnProtocol !== "h2") throw noHttp2(host);
  const settings = { enablePush: false, maxHeaderListSize: limits.headerBytes };
  const session = connectHttp2(origin, { createConnection: () => socket, settings });
  // What ends it, ends its stream as well, and is reported there.
  session.on("error", () => {});
  return session;
}

function noHttp2(host: string): UpstreamUnreachable {
  return new UpstreamUnreachable(host, "does not speak HTTP/2, which gRPC needs; check the port", {
    stage: "HTTP",
  });
}

interface Opened {
  readonly request: DialogueRequest;
  readonly target: BaseUrl;
  readonly injection: Injection;
  readonly limits: OutboundLimits;
  readonly stream: ClientHttp2Stream;
  /** Closes the socket, and gives back what the call had. */
  readonly ending: DisposableStack;
}

class OpenDialogue implements Dialogue {
  readonly #parts: Opened;
  readonly #reader: FrameReader;
  readonly #ending: DisposableStack;
  #bytesLeft: number;
  #waiting: { resolve: (answer: Buffer) => void; reject: (why: unknown) => void } | undefined;
  #ended: { readonly why: unknown } | undefined;
  #hasAnswered = false;

  constructor(parts: Opened) {
    this.#parts = parts;
    this.#ending = parts.ending;
    const { request, target, stream, limits } = parts;
    this.#bytesLeft = request.maxAnswerBytes;
    this.#reader = new FrameReader(request.hold);
    const totalMs = Math.min(request.timeoutMs ?? limits.totalMs, limits.totalMs);
    const timer = setTimeout(() => this.#end(outOfTime(target.host, totalMs)), totalMs);
    this.#ending.defer(() => clearTimeout(timer));
    const leave = () => this.#end(request.signal.reason);
    request.signal.addEventListener("abort", leave);
    this.#ending.defer(() => request.signal.removeEventListener("abort", leave));
    stream.on("response", (headers) => this.#begin(headers));
    stream.on("trailers", (trailers: IncomingHttpHeaders) => this.#end(statusOf(trailers)));
    stream.on("data", (piece: Buffer) => this.#take(piece));
    stream.on("error", (error: Error) => this.#end(this.#failureOf(error)));
    stream.on("close", () => this.#end(this.#brokenOff()));
  }

  async ask(question: Uint8Array): Promise<Buffer> {
    if (this.#ended !== undefined) throw this.#ended.why;
    const answer = await new Promise<Buffer>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#parts.stream.write(framed(question));
    });
    const { target, injection } = this.#parts;
    if (await reflects([answer], injection.secrets)) throw new CredentialReflected(target.host, 200);
    return answer;
  }

  [Symbol.dispose](): void {
    this.#end(new Error("the call was closed"));
  }

  #begin(headers: IncomingHttpHeaders & IncomingHttpStatusHeader): void {
    const { host } = this.#parts.target;
    const status = headers[":status"] ?? 0;
    this.#hasAnswered = true;
    if (headers["grpc-status"] !== undefined) return this.#end(statusOf(headers));
    const meant = statusesOfHttp[status];
    if (meant !== undefined) return this.#end(new GrpcStatus(meant));
    if (status !== 200 || !/^application\/grpc(?:\+proto)?\s*(?:;|$)/.test(headers["content-type"] ?? "")) {
      const problem = "does not speak gRPC there; check the base URL";
      this.#end(new UpstreamUnreachable(host, problem, { stage: "HTTP", status }));
    }
  }

  #take(piece: Buffer): void {
    if (this.#ended !== undefined) return;
    const { host } = this.#parts.target;
    try {
      if (this.#waiting === undefined) throw new FrameFault("answered what it was not asked");
      this.#bytesLeft -= piece.length;
      const most = this.#parts.request.maxAnswerBytes;
      if (this.#bytesLeft < 0) throw new UpstreamTooLarge(host, moreThan(most), 200);
      const answer = this.#reader.add(piece, most);
      if (answer === undefined) return;
      const { resolve } = this.#waiting;
      this.#waiting = undefined;
      resolve(answer);
    } catch (error) {
      this.#end(
        error instanceof FrameFault ? new UpstreamUnreachable(host, error.message, { stage: "HTTP" }) : error,
      );
    }
  }

  /** HTTP/2 has codes of its own for one that does not speak it. */
  #failureOf(error: Error): unknown {
    const { host } = this.#parts.target;
    const { code } = error as { code?: unknown };
    if (typeof code === "string" && code.startsWith("ERR_HTTP2_")) {
      return this.#hasAnswered ? this.#brokenOff() : noHttp2(host);
    }
    return upstreamFailure(error, host);
  }

  #brokenOff(): UpstreamUnreachable {
    const problem = "broke off the connection; look into its log";
    return new UpstreamUnreachable(this.#parts.target.host, problem, { stage: "HTTP" }, true);
  }

  #end(why: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { why };
    this.#waiting?.reject(why);
    this.#ending.dispose();
  }
}

/** A call that is over with all answered is over too soon for whoever asks on. */
function statusOf(headers: IncomingHttpHeaders): GrpcStatus {
  return new GrpcStatus(Number(headers["grpc-status"] ?? 2));
}

/** What an answer means that a proxy or another server than one of gRPC gives (gRPC's http-grpc-status-mapping.md). */
const statusesOfHttp: Readonly<Record<number, number>> = { 401: 16, 403: 7, 404: 12 };

function outOfTime(host: string, ms: number): UpstreamTimeout {
  return new UpstreamTimeout(host, `did not answer completely in ${ms / 1000} s`, { stage: "HTTP" });
}
