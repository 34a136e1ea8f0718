import type { Interceptor } from "@connectrpc/connect";
import { callOf } from "#src/platform/caller.ts";
import { orEnd } from "#src/platform/or-end.ts";
import { requireAudit, requireGate, type BehindGate } from "./behind-gate.ts";
import type { ReportFailure } from "./report-failure.ts";

/** What a call that Connect serves goes through behind the gate: the same as any other, and streams as far as they can. */
export function createInterceptor(report: ReportFailure, behindGate: BehindGate): Interceptor {
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
      const response = await next(request);
      requireAudit(call);
      if (!response.stream) return response;
      return { ...response, message: reported(response.message, (thrown) => report(thrown, call, signal)) };
    } catch (thrown) {
      throw report(thrown, call, signal);
    }
  };
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
