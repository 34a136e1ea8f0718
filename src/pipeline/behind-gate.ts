import type { DescMethod, Message } from "@bufbuild/protobuf";
import type { Validator } from "@bufbuild/protovalidate";
import { namedRequest } from "#src/idempotency/named-request.ts";
import type { Call } from "#src/platform/caller.ts";
import { InvalidBearer } from "#src/verification/errors.ts";
import { policyOf, takesIdempotencyKey } from "./policy.ts";
import { requireValid } from "./validation.ts";

/** A unary call whose message is there. */
export interface UnaryCall {
  readonly method: DescMethod;
  readonly message: Message;
  readonly call: Call;
  /** Its `Idempotency-Key`; null for none. */
  readonly idempotencyKey: () => string | null;
}

/** What every unary call goes through between its message and its handler, and what its success has to keep. */
export type BehindGate = <T>(unary: UnaryCall, handle: () => Promise<T>) => Promise<T>;

export function createBehindGate(validator: Validator): BehindGate {
  return async ({ method, message, call, idempotencyKey }, handle) => {
    requireGate(call);
    // The body was read behind the gate, and a client may take a minute to send it: a key that was revoked meanwhile
    // is no good.
    await call.recheck?.();
    requireValid(validator, method.input, message);
    await nameRequest({ method, message, call, idempotencyKey });
    const answer = await handle();
    requireAudit(call);
    return answer;
  };
}

/** Refuses a request that did not pass the gate, which is the only way in on transports without headers. */
export function requireGate({ passedGate }: Call): void {
  if (passedGate !== true) throw new InvalidBearer("malformed");
}

/** Notes what the caller of an audited method named its request, before the change that may be a repetition. */
async function nameRequest({ method, message, call, idempotencyKey }: UnaryCall): Promise<void> {
  if (!takesIdempotencyKey(method)) return;
  const key = idempotencyKey();
  if (key !== null) call.named = await namedRequest(key, method, message, policyOf(method).repeated);
}

/**
 * Refuses the success of an audited call that neither recorded a change nor said that there was none. The
 * database refuses to commit a change without a record; this finds a handler that never asked it to.
 */
export function requireAudit({ auditActions, settled, rpc }: Call): void {
  if ((auditActions?.length ?? 0) > 0 && settled !== true) {
    throw new Error(`${rpc} succeeded without an audit event`);
  }
}
