import type { HandlerContext } from "@connectrpc/connect";
import type { Connections } from "#src/connections/connections.ts";
import type { Outbound, OutboundReply } from "#src/outbound/outbound.ts";
import type { QueryPair } from "#src/outbound/path.ts";
import { Overloaded, type Holding } from "#src/platform/byte-budget.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { replyBody, type RequestBody } from "./call-body.ts";

/** A request as its caller described it, on whatever way. */
export interface DescribedCall {
  readonly method: string;
  readonly path: string;
  readonly query: readonly QueryPair[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: RequestBody | undefined;
}

/** Makes the call through the connection that has the slug or the id, and answers what the service answered. */
export type MakeCall = (
  context: HandlerContext,
  ref: string,
  call: DescribedCall,
) => ReturnType<typeof answerOf>;

/** Calls services with a credential that the caller never sees. */
export function createMakeCall(parts: {
  connections: Pick<Connections, "open" | "use">;
  outbound: Outbound;
  now: () => Date;
}): MakeCall {
  const { connections, outbound, now } = parts;
  const { use } = connections;
  return async (context, ref, call) => {
    const caller = callerOf(context);
    const { holding } = callOf(context);
    const { connection, credential } = await connections.open(caller, ref, call);
    using _wiped = credential;
    const timeoutMs = context.timeoutMs();
    const reply = await outbound.send({
      share: caller.orgId,
      baseUrl: connection.baseUrl,
      ...requestOf(call),
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
    return await answerOf(reply);
  };
}

/** What is sent of the call, beside the connection's own. */
export function requestOf({ method, path, query, headers, body }: DescribedCall) {
  const withType = withContentType(headers, body?.contentType);
  return { method, path, query, headers: withType, ...(body && { body: body.bytes }) };
}

async function answerOf(reply: OutboundReply) {
  return {
    status: reply.status,
    headers: reply.headers,
    latencyMs: Math.round(reply.latencyMs),
    body: await replyBody(reply),
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
  headers: Readonly<Record<string, string>>,
  contentType: string | undefined,
): Readonly<Record<string, string>> {
  const isGiven = Object.keys(headers).some((name) => name.toLowerCase() === "content-type");
  return contentType === undefined || isGiven ? headers : { ...headers, "content-type": contentType };
}
