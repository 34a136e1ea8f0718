import type { Call } from "#src/platform/caller.ts";
import type { Request } from "#src/platform/http.ts";

const calls = new WeakMap<Request, Call>();

/** Notes which call a request of the port makes. */
export function beginCall(request: Request, call: Call): void {
  calls.set(request, call);
}

/** The call that a request of the port makes. */
export function callOfRequest(request: Request): Call {
  const call = calls.get(request);
  if (call === undefined)
    throw new Error("the request has no call: it did not come in through the access log");
  return call;
}
