import type { HandlerContext } from "@connectrpc/connect";
import type { OutboundReply } from "#src/outbound/outbound.ts";
import type { QueryPair } from "#src/outbound/path.ts";
import { Overloaded, type Holding } from "#src/platform/byte-budget.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { replyBody, type RequestBody } from "./call-body.ts";
import { callHeaders } from "./call-headers.ts";
import type { Through } from "./through.ts";

/** A request as its caller described it, on whatever way. */
export interface DescribedCall {
  readonly method: string;
  readonly path: string;
  readonly query: readonly QueryPair[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: RequestBody | undefined;
  /** Hears of the answer before the caller does. */
  readonly onReply?: (reply: OutboundReply) => void;
}

/** Makes the call through the connection that has the slug or the id, and answers what the service answered. */
export type MakeCall = (
  context: HandlerContext,
  ref: string,
  call: DescribedCall,
) => ReturnType<typeof answerOf>;

/** Calls services with a credential that the caller never sees. */
export function createMakeCall(through: Through): MakeCall {
  return async (context, ref, call) => {
    const { holding, requestId } = callOf(context);
    const timeoutMs = context.timeoutMs();
    let attempts = 0;
    try {
      const { reply } = await through(callerOf(context), ref, {
        ...requestOf(call),
        requestId,
        signal: context.signal,
        hold: (bytes) => holding?.grow(bytes),
        onTry: (number) => void (attempts = number),
        ...(timeoutMs !== undefined && { timeoutMs }),
      });
      call.onReply?.(reply);
      holdDecoded(holding, reply);
      const answer = await answerOf(reply, attempts);
      announce(context, "upstream", attempts);
      return answer;
    } catch (error) {
      // Without a try, there is nobody else whose answer it could be.
      if (attempts > 0) announce(context, "patchbay", attempts);
      throw error;
    }
  };
}

function announce(context: HandlerContext, source: "upstream" | "patchbay", attempts: number): void {
  for (const [name, value] of callHeaders(source, attempts)) {
    context.responseHeader.set(name, value);
  }
}

/** What is sent of the call, beside the connection's own. */
export function requestOf({ method, path, query, headers, body }: DescribedCall) {
  const withType = withContentType(headers, body?.contentType);
  return { method, path, query, headers: withType, ...(body && { body: body.bytes }) };
}

async function answerOf(reply: OutboundReply, attempts: number) {
  return {
    status: reply.status,
    headers: reply.headers,
    latencyMs: Math.round(reply.latencyMs),
    ...(attempts > 1 && { attempts }),
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
