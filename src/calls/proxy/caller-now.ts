import type { Caller } from "#src/platform/caller.ts";
import type { RawExchange } from "#src/platform/raw-route.ts";

/** The caller as its key was when it was last looked at, which may be long after the gate let it in. */
export function callerNow({ call, caller }: RawExchange): Caller {
  return call.caller ?? caller;
}
