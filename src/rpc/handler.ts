import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Log } from "#src/platform/log.ts";
import type { Request, Response } from "#src/platform/http.ts";
import { tidyReply } from "./reply.ts";
import type { ProcedureHandler } from "./router.ts";

/** Serves one request to one procedure. */
export type RpcHandler = (procedure: ProcedureHandler, request: Request, response: Response) => Promise<void>;

/**
 * Joins Connect to the port. connect-node's own adapter would do, but for the replies that Connect words by
 * itself, and for bodies that nobody reads after a refusal.
 */
export function createRpcHandler(parts: {
  contextValues: (request: Request) => ContextValues;
  /** The deadline of a unary call whose caller sets none. */
  timeoutMs: number;
  log: Log;
}): RpcHandler {
  const { contextValues, timeoutMs, log } = parts;
  return async (procedure, request, response) => {
    try {
      const asked = universalRequestFromNodeRequest(request, response, undefined, contextValues(request));
      const type = request.headers["content-type"] ?? "";
      if (procedure.method.methodKind === "unary") setDefaultDeadline(asked.header, type, timeoutMs);
      const reply = await tidyReply(await procedure(asked), type, procedure.allowedMethods);
      // Refused before its body was read: otherwise the caller would go on sending what nobody reads. A stream of
      // HTTP/2 is ended by the port, a little later: curl loses an answer that a reset follows at once.
      if (!request.complete && request.httpVersionMajor === 1) response.setHeader("connection", "close");
      await universalResponseToNodeResponse(reply, response);
    } catch (error) {
      const { code } = ConnectError.from(error);
      // The caller went away: there is nobody to answer.
      if (code !== Code.Canceled && code !== Code.Aborted)
        log.warn({ err: error }, "a reply could not be sent");
      response.destroy();
    }
  };
}

function setDefaultDeadline(header: Headers, type: string, timeoutMs: number): void {
  const isGrpc = type.startsWith("application/grpc");
  const name = isGrpc ? "grpc-timeout" : "connect-timeout-ms";
  if (!header.has(name)) header.set(name, isGrpc ? `${timeoutMs}m` : String(timeoutMs));
}
