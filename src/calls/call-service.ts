import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { Connections } from "#src/connections/connections.ts";
import type { Outbound, OutboundReply } from "#src/outbound/outbound.ts";
import { Overloaded, type Holding } from "#src/platform/byte-budget.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { queryPairs, replyBody, requestBody } from "./call-body.ts";

/** Calls a service through the connection that has its slug, with a credential that the caller never sees. */
export function createCallService(parts: {
  connections: Pick<Connections, "open" | "use">;
  outbound: Outbound;
  now: () => Date;
}): ServiceImpl<typeof ConnectionService>["callService"] {
  const { connections, outbound, now } = parts;
  const { use } = connections;
  return async (request, context) => {
    const caller = callerOf(context);
    const { holding } = callOf(context);
    const body = await requestBody(request.body);
    // Written anew, while the message has it another time; only bytes are sent as they came.
    if (body !== undefined && request.body.case !== "raw") holding?.grow(body.bytes.length);
    const query = queryPairs(request.query);
    const { connection, credential } = await connections.open(caller, request.service, request);
    using _wiped = credential;
    const timeoutMs = context.timeoutMs();
    const reply = await outbound.send({
      share: caller.orgId,
      baseUrl: connection.baseUrl,
      method: request.method,
      path: request.path,
      query,
      headers: withContentType(request.headers, body?.contentType),
      ...(body && { body: body.bytes }),
      credential,
      onSent: () => use.noteCall(caller.orgId, connection.id, now()),
      signal: context.signal,
      hold: (bytes) => holding?.grow(bytes),
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
    if (reply.status >= 200 && reply.status < 300) {
      const { id: connectionId, baseUrl } = connection;
      use.noteHealthy(caller.orgId, { connectionId, baseUrl, at: now() });
    }
    holdDecoded(holding, reply);
    return {
      status: reply.status,
      headers: reply.headers,
      latencyMs: Math.round(reply.latencyMs),
      body: await replyBody(reply),
    };
  };
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
