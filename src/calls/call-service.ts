import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { OutboundReply } from "#src/outbound/outbound.ts";
import { Overloaded, type Holding } from "#src/platform/byte-budget.ts";
import { callOf, viewerOf } from "#src/platform/caller.ts";
import { queryPairs, replyBody, requestBody } from "./call-body.ts";
import { callHeaders } from "./call-headers.ts";
import type { Through } from "./through.ts";

/** Calls a service through a connection, with a credential that the caller never sees. */
export function createCallService(through: Through): ServiceImpl<typeof ConnectionService>["callService"] {
  return async (request, context) => {
    const { holding } = callOf(context);
    const body = await requestBody(request.body);
    // Written anew, while the message has it another time; only bytes are sent as they came.
    if (body !== undefined && request.body.case !== "raw") holding?.grow(body.bytes.length);
    const timeoutMs = context.timeoutMs();
    const { reply, attempts } = await through(viewerOf(context), request.service, {
      method: request.method,
      path: request.path,
      query: queryPairs(request.query),
      headers: withContentType(request.headers, body?.contentType),
      body: body?.bytes,
      signal: context.signal,
      hold: (bytes) => holding?.grow(bytes),
      onTry: (number) => announce(context, "patchbay", number),
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
    holdDecoded(holding, reply);
    const answer = {
      status: reply.status,
      headers: reply.headers,
      latencyMs: Math.round(reply.latencyMs),
      ...(attempts > 1 && { attempts }),
      body: await replyBody(reply),
    };
    announce(context, "upstream", attempts);
    return answer;
  };
}

function announce(context: HandlerContext, source: "upstream" | "patchbay", attempts: number): void {
  for (const [name, value] of Object.entries(callHeaders(source, attempts))) {
    context.responseHeader.set(name, value);
  }
}

/** As text or JSON the body is in memory a second time. Without room for that, the caller still learns the status. */
function holdDecoded(holding: Holding | undefined, { status, body }: OutboundReply): void {
  try {
    holding?.grow(body.length);
  } catch (error) {
    throw error instanceof Overloaded ? error.afterAnswer(status) : error;
  }
}

function withContentType(
  headers: Record<string, string>,
  contentType: string | undefined,
): Record<string, string> {
  const isGiven = Object.keys(headers).some((name) => name.toLowerCase() === "content-type");
  return contentType === undefined || isGiven ? headers : { ...headers, "content-type": contentType };
}
