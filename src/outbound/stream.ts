import type { Readable } from "node:stream";
import type { BaseUrl } from "./base-url.ts";
import { UpstreamTimeout } from "./errors.ts";
import { notCalled } from "./failures.ts";
import type { Fields } from "./headers.ts";
import { injectedBody } from "./injected-body.ts";
import type { Injection, OutboundCredential } from "./injection.ts";
import type { OutboundLimits } from "./limits.ts";
import { requestTarget } from "./path.ts";
import type { PoolInUse } from "./pools.ts";
import { rawQueryOf } from "./raw-query.ts";
import { needlesOf } from "./reflection.ts";
import { headersOf, injectionFor, methodOf } from "./request-head.ts";
import { StreamedAnswer, type StreamReply } from "./streamed-answer.ts";

/** A call whose bodies need not be there yet, as its caller describes it. */
export interface StreamRequest {
  /** The share that its sockets and look-ups belong to. */
  readonly share: string;
  /** Within the share, streams of one lane take no slot of another. Absent for those that callers wait for. */
  readonly lane?: string;
  readonly baseUrl: string;
  /** In capitals. */
  readonly method: string;
  /** Appended to the base URL's path; percent-encoded, begins with a slash. Empty for the base URL itself. */
  readonly path: string;
  /** Encoded, and without the question mark. */
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The codings that the answer may have, if the caller says so: it comes as it is. */
  readonly acceptEncoding?: string | undefined;
  readonly body?: Buffer | Readable | undefined;
  /** How long a streamed body will be; undefined if that is not known. */
  readonly bodyLength?: number | undefined;
  /** Sent only to the base URL that it was stored for, or below that. */
  readonly credential: OutboundCredential;
  /** Called before the first byte is sent to the service. */
  readonly onSent?: () => void;
  /** Instead of the usual limit, how long neither side may send anything. */
  readonly idleMs?: number;
  /** Its reason ends the call at any time. */
  readonly signal: AbortSignal;
}

/**
 * Creates the call that streams: over the same sockets, to the same addresses and with the same credentials as one that
 * is buffered. It has no time limit as a whole, since it may be a feed that goes on for days, but one for silence.
 */
export function createStream(parts: {
  limits: OutboundLimits;
  targetOf: (baseUrl: string) => BaseUrl;
  /** A slot, if it needs no waiting. */
  freeSlot: (request: StreamRequest, target: BaseUrl) => Disposable | undefined;
  takeSlot: (request: StreamRequest, target: BaseUrl, signal: AbortSignal) => Promise<Disposable>;
  openPool: (request: StreamRequest, target: BaseUrl, injection: Injection) => PoolInUse;
}): (request: StreamRequest) => Promise<StreamReply> {
  const { limits, targetOf, freeSlot, takeSlot, openPool } = parts;

  /** Waits for its turn, as long as the caller does, but not for ever. */
  async function slotFor(request: StreamRequest, target: BaseUrl): Promise<Disposable> {
    const free = freeSlot(request, target);
    if (free !== undefined) return free;
    const waiting = new AbortController();
    const leave = (): void => waiting.abort(request.signal.reason);
    const timer = setTimeout(() => {
      const problem = notCalled(limits.streamPatienceMs / 1000, limits);
      waiting.abort(new UpstreamTimeout(target.host, problem, { stage: "QUEUE" }));
    }, limits.streamPatienceMs);
    request.signal.addEventListener("abort", leave);
    try {
      return await takeSlot(request, target, waiting.signal);
    } finally {
      clearTimeout(timer);
      request.signal.removeEventListener("abort", leave);
    }
  }

  return async (request) => {
    const { signal } = request;
    signal.throwIfAborted();
    const target = targetOf(request.baseUrl);
    const method = methodOf(request.method);
    const path = requestTarget(target.path, request.path, []);
    using stack = new DisposableStack();
    stack.use(await slotFor(request, target));
    const injection = injectionFor(target, request.credential);
    const fields = streamHeaders(request, headersOf(request.headers, injection));
    const query = rawQueryOf(request.query, injection);
    const body = await bodyWith(request, fields, injection);
    const { dispatcher } = stack.use(openPool(request, target, injection));
    // The caller may have left meanwhile, which is announced only once.
    signal.throwIfAborted();
    const sent = {
      method,
      path: path + query,
      headers: [...fields].flat(),
      body,
      // Silence is measured here: undici's clocks stand still while a body is sent.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    const answer = new StreamedAnswer({
      host: target.host,
      headerBytes: limits.headerBytes,
      needles: needlesOf(injection.secrets),
      started: () => request.onSent?.(),
      progress: () => silence.refresh(),
      over() {
        clearTimeout(silence);
        signal.removeEventListener("abort", leave);
        ending.dispose();
      },
    });
    // From here on undici says when it holds nothing of the call any more, which may be later than its caller leaves.
    const ending = stack.move();
    const leave = (): void => answer.end(signal.reason as Error);
    const { idleMs = limits.streamIdleMs } = request;
    const silence = setTimeout(() => answer.end(silentFor(target.host, idleMs)), idleMs);
    signal.addEventListener("abort", leave);
    dispatcher.dispatch(sent, answer);
    const reply = await answer.reply;
    // The rest may have come in the same turn. Its error is emitted only once, and nobody listened yet.
    if (reply.body.errored !== null) throw reply.body.errored;
    return reply;
  };
}

function silentFor(host: string, ms: number): UpstreamTimeout {
  return new UpstreamTimeout(host, `sent nothing for ${ms / 1000} s`, { stage: "HTTP" });
}

/** Changes what is not as in a buffered call: the codings are the caller's, and the length that of the stream. */
function streamHeaders({ acceptEncoding, bodyLength }: StreamRequest, fields: Fields): Fields {
  if (acceptEncoding === undefined) fields.delete("accept-encoding");
  else fields.set("accept-encoding", acceptEncoding);
  if (bodyLength !== undefined) fields.set("content-length", String(bodyLength));
  return fields;
}

/** A credential can be put only into a body that is there as a whole. */
async function bodyWith(
  { body }: StreamRequest,
  fields: Fields,
  injection: Injection,
): Promise<Buffer | Readable | null> {
  const whole = Buffer.isBuffer(body) ? body : null;
  const withCredential = await injectedBody(whole, fields, injection.body);
  return withCredential ?? body ?? null;
}
