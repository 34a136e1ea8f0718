import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { Validator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { callOf } from "#src/platform/caller.ts";
import { orEnd } from "#src/platform/or-end.ts";
import { requireAudit, requireGate, type BehindGate } from "./behind-gate.ts";
import type { ReportFailure } from "./report-failure.ts";
import { requireValid } from "./validation.ts";

/** What a call that Connect serves goes through behind the gate: the same as any other, and streams as far as they can. */
export function createInterceptor(
  report: ReportFailure,
  behindGate: BehindGate,
  validator: Validator,
): Interceptor {
  return (next) => async (request) => {
    const call = callOf({ values: request.contextValues });
    const { signal } = request;
    try {
      if (!request.stream) {
        const { method, message, header } = request;
        const idempotencyKey = () => header.get("idempotency-key");
        // Also if its handler does not look at the deadline.
        return await orEnd(signal, () =>
          behindGate({ method, message, call, idempotencyKey }, () => next(request)),
        );
      }
      // A stream has no message yet at this point, and its handler checks its key again.
      requireGate(call);
      const message = validated(validator, request.method.input, request.message);
      const response = await next({ ...request, message });
      requireAudit(call);
      if (!response.stream) return response;
      return { ...response, message: reported(response.message, (thrown) => report(thrown, call, signal)) };
    } catch (thrown) {
      throw report(thrown, call, signal);
    }
  };
}

/** Each message of a request that streams is held to the rules once it is there. */
async function* validated(validator: Validator, input: DescMessage, messages: AsyncIterable<Message>) {
  for await (const message of messages) {
    requireValid(validator, input, message);
    yield message;
  }
}

async function* reported<T>(
  messages: AsyncIterable<T>,
  report: (thrown: unknown) => Error,
): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw report(thrown);
  }
}
