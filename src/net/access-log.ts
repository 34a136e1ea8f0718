import { randomUUID } from "node:crypto";
import type { OutgoingHttpHeader, OutgoingHttpHeaders } from "node:http";
import { constants } from "node:http2";
import type { Call } from "#src/platform/caller.ts";
import {
  contentTypeOf,
  onceClosed,
  targetOf,
  type Handler,
  type Request,
  type Response,
} from "#src/platform/http.ts";
import { canonicalAddress } from "#src/platform/ip.ts";
import { createKeyShapes, type KeyShapes } from "#src/platform/key-shapes.ts";
import type { ReasonName } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import type { Facts, RequestSpan, Tracing } from "#src/platform/tracing.ts";
import { beginCall } from "#src/pipeline/request-call.ts";
import { accessLogOf, type AccessLog } from "./access-line.ts";
import { clientAddressOf } from "./forwarded-for.ts";
import { loggablePath } from "#src/platform/loggable-path.ts";

export interface AccessLogOptions {
  readonly log: Log;
  /** Milliseconds of a clock that never goes back, such as `performance.now`. */
  readonly monotonicNow: () => number;
  /** How many proxies in front say in `X-Forwarded-For` whom they speak for. */
  readonly trustedProxyHops: number;
  /** What keys of earlier systems begin with: neither an id nor a path that holds one is written down. */
  readonly legacyPrefixes: readonly string[];
  /** Absent if no traces are sent anywhere. */
  readonly tracing?: Tracing | undefined;
  /** Told of each request as well, and why it failed, as its caller was told. */
  readonly answered?: (request: AnsweredRequest, failure: ReasonName | undefined) => void;
}

/** Gives every request its call and its `x-request-id`, and writes one line when it was answered or cut. */
export function withAccessLog(handler: Handler, options: AccessLogOptions): Handler {
  const { monotonicNow, trustedProxyHops, tracing, answered } = options;
  const keys = createKeyShapes(options.legacyPrefixes);
  const log = accessLogOf(options.log);
  return (request, response) => {
    const startedAt = monotonicNow();
    const call: Call = {
      requestId: requestIdOf(request, keys),
      authorizationLines: authorizationLinesOf(request),
      peerAddress: canonicalAddress(request.socket.remoteAddress),
      remoteAddress: clientAddressOf(request, trustedProxyHops),
    };
    const span = beginSpan(tracing, request, call);
    beginCall(request, call);
    response.setHeader("x-request-id", call.requestId);
    onceClosed(response, () => {
      const latencyMs = Math.round((monotonicNow() - startedAt) * 1000) / 1000;
      const line = lineOf(request, response, call, keys, latencyMs);
      writeLine(log, line);
      answered?.(line, call.failure);
      span?.end(line.rpc ?? "HTTP", factsOf(line, call), isFault(line));
    });
    if (span === undefined) handler(request, response);
    else span.run(() => handler(request, response));
  };
}

/** Those that ask whether the service is there have no trace: they come by the thousands, and nothing follows. */
function beginSpan(tracing: Tracing | undefined, request: Request, call: Call): RequestSpan | undefined {
  if (tracing === undefined || isHealthCheck(targetOf(request).path)) return undefined;
  const given = request.headers["traceparent"];
  const span = tracing.serve(typeof given === "string" ? given : undefined);
  call.traceId = span.traceId;
  return span;
}

/** What a trace says of a request: no path and no address, which hold what clients make up. */
function factsOf(line: ReturnType<typeof lineOf>, { failure }: Call): Facts {
  return {
    "http.response.status_code": line.status,
    "rpc.grpc.status_code": line.grpcStatus,
    "patchbay.protocol": line.protocol,
    "patchbay.request_id": line.requestId,
    "patchbay.org_id": line.orgId,
    "patchbay.api_key_id": line.apiKeyId,
    "patchbay.cut": line.cut,
    "error.type": failure,
  };
}

function isFault(line: Outcome): boolean {
  return line.cut !== true && levelOf(line) !== "info";
}

/** The caller's own id, if it cannot break a log or a header and is not a key sent by mistake; else a new one. */
function requestIdOf({ headers }: Request, keys: KeyShapes): string {
  const given = headers["x-request-id"];
  const isUsable = typeof given === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(given);
  return isUsable && !keys.foundIn(given) ? given : randomUUID();
}

const authorization = "authorization";

function authorizationLinesOf({ rawHeaders }: Request): number {
  let lines = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length === authorization.length && name.toLowerCase() === authorization) lines += 1;
  }
  return lines;
}

/** How a request was answered, without the caller. */
export interface AnsweredRequest extends Outcome {
  readonly rpc: string | undefined;
  readonly protocol: string | undefined;
  readonly latencyMs: number;
}

function lineOf(request: Request, response: Response, call: Call, keys: KeyShapes, latencyMs: number) {
  const path = loggablePath(request.url ?? "", keys);
  return {
    requestId: call.requestId,
    traceId: call.traceId,
    method: request.method?.slice(0, 32),
    path,
    http: request.httpVersionMajor === 2 ? "2" : request.httpVersion,
    protocol: protocolOf(request, path, call),
    ...outcomeOf(response),
    rpc: call.rpc,
    orgId: call.caller?.orgId,
    apiKeyId: call.caller?.via.id,
    userId: call.caller?.userId,
    latencyMs,
    remoteAddress: call.remoteAddress,
    peerAddress: call.peerAddress === call.remoteAddress ? undefined : call.peerAddress,
  };
}

function writeLine(log: AccessLog, line: ReturnType<typeof lineOf>): void {
  if (isHealthCheck(line.path)) log.debug(line, "request");
  // Of one that was cut, the caller saw no status; what was our fault has a line of its own.
  else if (line.cut === true) log.info(line, "request");
  else log[levelOf(line)](line, "request");
}

interface Outcome {
  /** Undefined if the request was cut before it was answered. */
  readonly status: number | undefined;
  /** Undefined in gRPC-Web, which keeps it in the body unless the call is refused, and in other protocols. */
  readonly grpcStatus: number | undefined;
  /** True if the client went away, or was sent away, before it had the whole response. */
  readonly cut: true | undefined;
}

function outcomeOf(response: Response): Outcome {
  if ("stream" in response) {
    const { sentTrailers, aborted, rstCode } = response.stream;
    // The type says that it is always there; a stream that was cut before its answer has none.
    const sentHeaders = response.stream.sentHeaders as OutgoingHttpHeaders | undefined;
    return {
      status: numberIn(sentHeaders?.[":status"]),
      grpcStatus: numberIn(sentTrailers?.["grpc-status"] ?? sentHeaders?.["grpc-status"]),
      cut: aborted || rstCode !== constants.NGHTTP2_NO_ERROR || undefined,
    };
  }
  return {
    status: response.headersSent ? response.statusCode : undefined,
    grpcStatus: numberIn(response.getHeader("grpc-status")),
    cut: !response.writableFinished || undefined,
  };
}

function numberIn(header: OutgoingHttpHeader | undefined): number | undefined {
  return header === undefined ? undefined : Number(header);
}

/** Undefined for what is no RPC, such as a health check over plain HTTP or an unknown path. */
function protocolOf(request: Request, path: string, { rpc }: Call): string | undefined {
  const type = contentTypeOf(request);
  if (type.startsWith("application/grpc-web")) return "grpc-web";
  if (type.startsWith("application/grpc")) return "grpc";
  if (rpc === undefined) return undefined;
  return path === `/${rpc}` ? "connect" : "rest";
}

function isHealthCheck(path: string): boolean {
  return path === "/healthz" || path === "/readyz" || path.startsWith("/grpc.health.v1.Health/");
}

// A service that is overloaded, or whose database is away, has said why in a line of its own; and a flood of one
// client's must not fill the log with errors. Not 501, 502 and 504, and what gRPC says for them: the caller asked for
// what is not there, or the service that was called through us failed.
const levels = new Map<number, "error" | "warn">([
  [500, "error"],
  [503, "warn"],
]);
/** Unknown, internal and data loss; unavailable. */
const grpcLevels = new Map<number, "error" | "warn">([
  [2, "error"],
  [13, "error"],
  [15, "error"],
  [14, "warn"],
]);

function levelOf({ status, grpcStatus }: Outcome): "error" | "warn" | "info" {
  return levels.get(status ?? 0) ?? grpcLevels.get(grpcStatus ?? 0) ?? "info";
}
