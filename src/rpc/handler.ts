import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import { universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { callLimitsOf } from "#src/pipeline/call-limits.ts";
import type { ReportFailure } from "#src/pipeline/report-failure.ts";
import { callOfRequest } from "#src/pipeline/request-call.ts";
import type { Holding } from "#src/platform/byte-budget.ts";
import { callOf, type Call } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import { contentTypeOf, hostOf, isClosed, type Request, type Response } from "#src/platform/http.ts";
import type { ServiceError } from "#src/platform/errors.ts";
import { universalRequest } from "./caller-gone.ts";
import { acceptedCompressions, compressingFor, settleCompression } from "./compression.ts";
import { deadlineOf } from "./deadline.ts";
import { unknownProcedure, unreadableHost } from "./framework-failure.ts";
import type { ProcedureHandler } from "./router.ts";
import { refusal, tidyReply } from "./tidy-reply.ts";

/** Serves one request to one procedure. */
export type RpcHandler = (procedure: ProcedureHandler, request: Request, response: Response) => Promise<void>;

/**
 * Joins Connect to the port. connect-node's own adapter would do, but for the replies that Connect words by
 * itself, and for bodies that stay unread after a refusal.
 */
export function createRpcHandler(parts: {
  contextValues: (request: Request, response: Response) => ContextValues;
  report: ReportFailure;
  log: Log;
}): RpcHandler {
  const { contextValues, report, log } = parts;
  return async (procedure, request, response) => {
    // Connect makes a URL of it, and would fail before the caller is answered.
    const type = contentTypeOf(request);
    if (hostOf(request) === undefined) return refuse(request, response, unreadableHost());
    try {
      const values = contextValues(request, response);
      const call = callOf({ values });
      const { holding } = call;
      const asked = universalRequest(request, response, values);
      const isUnary = procedure.method.methodKind === "unary";
      const mostMs = isUnary ? callLimitsOf(procedure.method).timeoutMs : undefined;
      const deadlineMs = limitDeadline(asked.header, type, mostMs);
      // A stream has sent a part of its answer by then, and Connect ends it in its own form.
      if (isUnary && deadlineMs !== undefined) asked.endAfter(deadlineMs);
      if (isUnary) settleCompression(asked.header);
      const counted = { ...asked, body: received(asked.body, call, report) };
      await compressingFor({ gone: asked.gone, over: asked.signal, holding }, async () => {
        const reply = await tidyReply(await procedure(counted), type, procedure.allowedMethods, call);
        // Refused before its body was read: otherwise the caller would go on sending in vain. A stream of
        // HTTP/2 is ended by the port, a little later: curl loses an answer that a reset follows at once.
        if (!request.complete && request.httpVersionMajor === 1) response.setHeader("connection", "close");
        const accepted = acceptedCompressions(type, asked.header);
        if (accepted !== undefined) response.setHeader(...accepted);
        await universalResponseToNodeResponse(sent(reply, holding, response), response);
      });
    } catch (error) {
      const { code } = ConnectError.from(error);
      // The caller went away, or was cut since it did not read: the answer has no reader.
      const isGone = code === Code.Canceled || code === Code.Aborted || isClosed(response);
      if (!isGone) log.warn({ err: error }, "a reply could not be sent");
      response.destroy();
    }
  };
}

/** Connect keeps the pieces of a message as they come, and a caller may send them byte by byte. */
const besideEachPiece = 256;

type Body = Awaited<ReturnType<ProcedureHandler>>["body"];

/** The request's body, each piece taken from the budget before it is held. */
function received<T>(body: T, call: Call, report: ReportFailure): T {
  async function* counted(pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) {
      try {
        call.holding?.grow(piece.length + besideEachPiece);
      } catch (error) {
        throw report(error, call);
      }
      yield piece;
    }
  }
  return isPieces(body) ? (counted(body) as T) : body;
}

/** The reply, of whose body the piece that waits for the caller is held, and nothing that led to it any more. */
function sent<R extends { readonly body?: Body }>(
  reply: R,
  holding: Holding | undefined,
  response: Response,
): R {
  async function* counted(pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) {
      holding?.become(piece.length);
      holding?.waitForReader(() => response.destroy());
      yield piece;
    }
  }
  return isPieces(reply.body)
    ? Object.assign(Object.create(reply) as R, { body: counted(reply.body) })
    : reply;
}

function isPieces(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

/** Timers end at once beyond this. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Gives a unary call the default deadline, and lets no caller set one that is later, or later than timers can be.
 * Answers how long it is; undefined if there is none, or a malformed one, which is left for Connect to refuse.
 */
function limitDeadline(header: Headers, type: string, defaultMs: number | undefined): number | undefined {
  const grpc = isGrpcType(type);
  const name = grpc ? "grpc-timeout" : "connect-timeout-ms";
  const text = header.get(name) ?? undefined;
  if (text === undefined && defaultMs === undefined) return undefined;
  const mostMs = defaultMs ?? longestTimerMs;
  const { timeoutMs, fault } = deadlineOf(grpc ? "grpc" : "connect", text, mostMs);
  if (fault !== undefined) return undefined;
  if (timeoutMs === mostMs) header.set(name, grpc ? `${Math.floor(mostMs / 1000)}S` : String(mostMs));
  return timeoutMs;
}

/** Whether the caller expects an answer in the terms of gRPC. */
export function isGrpc(request: Request): boolean {
  return isGrpcType(contentTypeOf(request));
}

function isGrpcType(type: string): boolean {
  return type.startsWith("application/grpc");
}

/** Answers a call to a method that is not there, or to a host that is none, in the terms of its protocol. */
async function refuse(request: Request, response: Response, failure: ServiceError): Promise<void> {
  try {
    await universalResponseToNodeResponse(
      refusal(contentTypeOf(request), failure, callOfRequest(request)),
      response,
    );
  } catch {
    // The caller went away: the answer has no reader.
    response.destroy();
  }
}

/** What gRPC answers for a method that is not there. */
export function refuseUnknownProcedure(request: Request, response: Response): Promise<void> {
  return refuse(request, response, unknownProcedure());
}
