import type { Connections } from "#src/connections/connections.ts";
import type { Dialogue, DialogueRequest } from "#src/outbound/dialogue.ts";
import { CredentialReflected } from "#src/outbound/errors.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Caller } from "#src/platform/caller.ts";
import type { Reflections } from "./reflections.ts";

/** A call of gRPC through a connection, as its caller describes it. */
export interface DialogueThroughRequest extends Pick<
  DialogueRequest,
  "path" | "maxAnswerBytes" | "timeoutMs" | "hold" | "signal"
> {
  /** Of the request that the call is made for. */
  readonly requestId: string;
}

/** Opens a call of gRPC through the connection that has the slug or the id. */
export type DialogueThrough = (
  caller: Caller,
  ref: string,
  request: DialogueThroughRequest,
) => Promise<Dialogue>;

/** Creates the way in which services of gRPC are asked with a connection's credential. */
export function createDialogueThrough(parts: {
  connections: Pick<Connections, "open" | "use">;
  outbound: Pick<Outbound, "openDialogue">;
  reflections: Pick<Reflections, "note">;
  now: () => Date;
}): DialogueThrough {
  const { connections, outbound, reflections, now } = parts;

  return async (caller, ref, { requestId, ...request }) => {
    const { connection, credential } = await connections.open(caller, ref, {
      method: "POST",
      path: request.path,
    });
    using _wiped = credential;
    const dialogue = await outbound.openDialogue({
      ...request,
      ...{ share: connection.orgId, baseUrl: connection.baseUrl, credential },
      onSent: () => connections.use.noteCall(connection, now()),
    });
    return {
      async ask(question) {
        try {
          return await dialogue.ask(question);
        } catch (error) {
          if (error instanceof CredentialReflected) {
            reflections.note({ caller, requestId }, connection.id, error);
          }
          throw error;
        }
      },
      [Symbol.dispose]: () => dialogue[Symbol.dispose](),
    };
  };
}
