import type { HandlerContext } from "@connectrpc/connect";
import type { DialogueThrough } from "#src/calls/dialogue-through.ts";
import type { Connections } from "#src/connections/connections.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { maxDocumentBytes } from "./document.ts";
import { descriptorsOf } from "./reflection.ts";
import { createServiceConnection } from "./service-connection.ts";

/** What a service offers over gRPC, and the connection through which it was asked. */
export interface Reflected {
  readonly descriptors: Uint8Array;
  readonly through: string;
}

/** Asks a service for the descriptors of what it offers over gRPC, through the connection that is named, or has its slug. */
export type AskGrpc = (
  slug: string,
  connection: string | undefined,
  context: HandlerContext,
) => Promise<Reflected>;

/** Creates the way in which services are asked. */
export function createAskGrpc(parts: {
  connections: Pick<Connections, "usable">;
  dialogueThrough: DialogueThrough;
}): AskGrpc {
  const connectionFor = createServiceConnection(parts.connections);

  return async (slug, named, context) => {
    const { id } = await connectionFor(slug, named, context);
    const { requestId, holding } = callOf(context);
    const timeoutMs = context.timeoutMs();
    const descriptors = await descriptorsOf((path) =>
      parts.dialogueThrough(callerOf(context), id, {
        ...{ path, requestId, maxAnswerBytes: maxDocumentBytes, signal: context.signal },
        hold: (bytes) => holding?.grow(bytes),
        ...(timeoutMs !== undefined && { timeoutMs }),
      }),
    );
    return { descriptors, through: id };
  };
}
