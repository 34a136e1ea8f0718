import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  CallServiceRequest,
  ConnectionService,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { callOf } from "#src/platform/caller.ts";
import { queryPairs, requestBody } from "./call-body.ts";
import type { DescribedCall, MakeCall } from "./make-call.ts";

/** Calls a service by its connection's slug or id, with a method and a path. */
export function createCallService(makeCall: MakeCall): ServiceImpl<typeof ConnectionService>["callService"] {
  return async (request, context) =>
    makeCall(context, request.service, await describedCall(request, context));
}

/** The call as the request describes it. */
export async function describedCall(
  request: Pick<CallServiceRequest, "method" | "path" | "query" | "headers" | "body">,
  context: HandlerContext,
): Promise<DescribedCall> {
  const { method, path, headers } = request;
  const body = await requestBody(request.body);
  // Written anew, while the message has it another time; only bytes are sent as they came.
  if (body !== undefined && request.body.case !== "raw") callOf(context).holding?.grow(body.bytes.length);
  return { method, path, query: queryPairs(request.query), headers, body };
}
