import type { Interceptor } from "@connectrpc/connect";
import type { Validator } from "@bufbuild/protovalidate";
import { InvalidBearer } from "#src/verification/errors.ts";
import { namedRequest } from "#src/idempotency/named-request.ts";
import { callOf } from "#src/platform/caller.ts";
import { policyOf, takesIdempotencyKey } from "./policy.ts";
import type { ReportFailure } from "./report-failure.ts";
import { requireValid } from "./validation.ts";

/** What every call goes through after the gate, on every protocol, outermost first. */
export function createInterceptors(report: ReportFailure, validator: Validator): Interceptor[] {
  return [reportFailures(report), requireGate, validate(validator), nameRequest, requireAudit];
}

/** Turns whatever is thrown into what the caller may know of it. */
function reportFailures(report: ReportFailure): Interceptor {
  return (next) => async (request) => {
    const call = callOf({ values: request.contextValues });
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return {
        ...response,
        message: reported(response.message, (thrown) => report(thrown, call, request.signal)),
      };
    } catch (thrown) {
      throw report(thrown, call, request.signal);
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

/**
 * Refuses a request that did not pass the gate, which is the only way in on transports without headers. Behind the
 * gate its body was read, and a client may take a minute to send it: a key that was revoked meanwhile is no good.
 * A stream has no message yet at this point; its handler checks again.
 */
const requireGate: Interceptor = (next) => async (request) => {
  const call = callOf({ values: request.contextValues });
  if (call.passedGate !== true) throw new InvalidBearer("malformed");
  if (!request.stream) await call.recheck?.();
  return next(request);
};

/** Refuses a message that breaks the rules of its contract. */
function validate(validator: Validator): Interceptor {
  return (next) => async (request) => {
    if (!request.stream) requireValid(validator, request.method.input, request.message);
    return next(request);
  };
}

/** Notes what the caller of an audited method named its request, before the change that may be a repetition. */
const nameRequest: Interceptor = (next) => async (request) => {
  const call = callOf({ values: request.contextValues });
  const key = request.header.get("idempotency-key");
  if (key !== null && !request.stream && takesIdempotencyKey(request.method)) {
    call.named = namedRequest(key, request.method, request.message, policyOf(request.method).repeated);
  }
  return next(request);
};

/**
 * Refuses the success of an audited call that neither recorded a change nor said that there was none. The
 * database refuses to commit a change without a record; this finds a handler that never asked it to.
 */
const requireAudit: Interceptor = (next) => async (request) => {
  const call = callOf({ values: request.contextValues });
  const response = await next(request);
  if ((call.auditActions?.length ?? 0) > 0 && call.settled !== true) {
    throw new Error(`${call.rpc} succeeded without an audit event`);
  }
  return response;
};
