import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ActionInput, CallActionRequest } from "#gen/patchbay/connections/v1/action_pb.js";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { Connections } from "#src/connections/connections.ts";
import { requireChoice, requireOfService } from "#src/connections/of-service.ts";
import type { Operations } from "#src/operations/operations.ts";
import type { SealedConnection } from "#src/connections/store.ts";
import type { OutboundReply } from "#src/outbound/outbound.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { parseAction, type ActionIdentifier } from "./action-identifier.ts";
import { actionBody, headersBeside } from "./action-body.ts";
import { fillAction, type Action, type DescribedAction } from "./action-input.ts";
import type { Checks, InputCheck } from "./checks/checks.ts";
import { findAction } from "./find-action.ts";
import type { DescribedCall, MakeCall } from "./make-call.ts";
import type { OutputDrift } from "./output-drift.ts";

/** The call of an operation, and the connection to make it through. */
export interface ActionCall {
  readonly connection: SealedConnection;
  readonly action: DescribedAction;
  readonly call: DescribedCall;
}

/** Reads the request as a call that may be made. */
export type ReadAction = (
  request: Pick<CallActionRequest, "actionIdentifier" | "connection" | "input">,
  context: HandlerContext,
) => Promise<ActionCall>;

/** Calls a service by the name of an operation. */
export function createCallAction(
  read: ReadAction,
  makeCall: MakeCall,
  drift: Pick<OutputDrift, "compare">,
): ServiceImpl<typeof ConnectionService>["callAction"] {
  return async (request, context) => {
    const { connection, action, call } = await read(request, context);
    const onReply = (reply: OutboundReply) => drift.compare(connection.orgId, action, reply);
    // By its id, so that no other is called that has taken over its slug meanwhile.
    return makeCall(context, connection.id, { ...call, onReply });
  };
}

/** Finds operation and connection, and holds the input to what is known of the operation. */
export function createReadAction(parts: {
  connections: Pick<Connections, "usable">;
  operations: Operations;
  checks: Pick<Checks, "input">;
}): ReadAction {
  const { connections, operations, checks } = parts;
  return async ({ actionIdentifier, connection: named, input }, context) => {
    const caller = callerOf(context);
    const wanted = parseAction(actionIdentifier);
    requireChoice("connectionId", named.value, wanted.slug);
    // First: which operations a service has is nothing to a caller that may not use it.
    const connection = await connections.usable(caller, named.value ?? wanted.slug);
    const { integration, slug } = connection;
    // What has a slug of its own is known by that, whatever it is a connection of.
    if (wanted.slug !== slug) requireOfService(named.case ?? "service", connection, wanted.slug);
    const action = await describedBy(operations, caller.orgId, { ...wanted, slug: integration });
    const check: InputCheck = async (contract, json) =>
      (await checks.input(caller.orgId, contract, json)).problems;
    return { connection, action, call: await describedAction(action, input, check, context) };
  };
}

/** The operation of that name, and what it is called with. */
export async function describedBy(
  operations: Operations,
  orgId: string,
  wanted: ActionIdentifier,
): Promise<DescribedAction> {
  const service = await operations.describe(orgId, wanted.slug);
  const found = { ...findAction(wanted, service), revision: service?.revision ?? 0 };
  if (service === undefined || found.endpoint === undefined) return { ...found, contract: undefined };
  const contract = await operations.contractOf(orgId, wanted.slug, service, found.endpoint);
  // Without one, it was replaced between the two questions, and is found anew.
  return contract === undefined ? describedBy(operations, orgId, wanted) : { ...found, contract };
}

/** What is sent for the operation. Throws InvalidInput for input that does not fit it. */
export async function describedAction(
  action: Action,
  input: ActionInput | undefined,
  check: InputCheck,
  context: HandlerContext,
): Promise<DescribedCall> {
  const { path = {}, query = {}, header = {}, body } = input ?? {};
  const filled = await fillAction(action, { path, query, header, body }, check);
  const form = action.contract?.body;
  const headers = headersBeside(form, filled.headers);
  const sent = await actionBody(form, body);
  if (sent !== undefined) callOf(context).holding?.grow(sent.bytes.length);
  return { method: action.method, ...filled, headers, body: sent };
}
