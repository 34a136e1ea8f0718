import type { Call } from "#src/platform/caller.ts";
import type { Request } from "#src/platform/http.ts";

/**
 * A member of the request, and not a WeakMap: in one that grows with each request, V8's small collections take what a
 * dead request led to for alive, and copy it, until all memory is collected.
 */
const callOf = Symbol("call");

type Called = Request & { [callOf]?: Call };

/** Notes which call a request of the port makes. */
export function beginCall(request: Called, call: Call): void {
  request[callOf] = call;
}

/** The call that a request of the port makes. */
export function callOfRequest(request: Called): Call {
  const call = request[callOf];
  if (call === undefined)
    throw new Error("the request has no call: it did not come in through the access log");
  return call;
}
