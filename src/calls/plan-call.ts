import { isUtf8 } from "node:buffer";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { PlanCallRequest } from "#gen/patchbay/connections/v1/action_pb.js";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { requirePermitted } from "#src/connections/access.ts";
import type { Connections } from "#src/connections/connections.ts";
import { maskedCredential } from "#src/connections/masked-credential.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { ActionCall, ReadAction } from "./call-action.ts";
import { describedCall } from "./call-service.ts";
import { requestOf } from "./make-call.ts";

type PlannedCall = Pick<ActionCall, "connection" | "call">;

/** Answers what a call would send, and sends nothing. */
export function createPlanCall(parts: {
  connections: Pick<Connections, "usable">;
  outbound: Pick<Outbound, "plan">;
  readAction: ReadAction;
}): ServiceImpl<typeof ConnectionService>["planCall"] {
  const { connections, outbound, readAction } = parts;

  async function read(request: PlanCallRequest, context: HandlerContext): Promise<PlannedCall> {
    const { call, connection: named, input } = request;
    if (call.case === "actionIdentifier") {
      if (saysMore(request))
        throw new InvalidRequest("actionIdentifier: what is sent is given in input, and not beside it");
      return readAction({ ...request, actionIdentifier: call.value }, context);
    }
    if (call.case === undefined || named.case !== "service" || input !== undefined) {
      throw new InvalidRequest("method: give service, its slug or id, and path beside it, and no input");
    }
    const connection = await connections.usable(callerOf(context), named.value);
    return { connection, call: await describedCall({ ...request, method: call.value }, context) };
  }

  return async (request, context) => {
    const { connection, call } = await read(request, context);
    requirePermitted(callerOf(context), connection, call);
    const { method, url, headers, body } = await outbound.plan({
      share: connection.orgId,
      baseUrl: connection.baseUrl,
      ...requestOf(call),
      credential: maskedCredential(connection),
    });
    // In memory once more: as the text of the answer.
    callOf(context).holding?.grow(body?.length ?? 0);
    return { method, url, headers, body: bodyOf(body), connectionId: connection.id };
  };
}

/** Whether it has a part that only calls by method and path have. */
function saysMore({ path, query, headers, body }: PlanCallRequest): boolean {
  return path !== "" || query !== undefined || Object.keys(headers).length > 0 || body.case !== undefined;
}

function bodyOf(bytes: Buffer | undefined) {
  if (bytes === undefined) return { case: undefined };
  return isUtf8(bytes)
    ? ({ case: "text", value: bytes.toString() } as const)
    : ({ case: "raw", value: bytes } as const);
}
