import { ServiceError } from "#src/platform/errors.ts";
import type { Budget } from "./gcra.ts";

/** The key, or the address that failed to authenticate or asked without a key, has spent its budget. */
export class RateLimited extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "RATE_LIMITED";

  constructor({ retryAfterMs }: Pick<Budget, "retryAfterMs">) {
    super("rate limit exceeded", {
      headers: { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
    });
  }
}

/** As many streams are open as may be: calling again does not help until one is closed. */
export class TooManyStreams extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "TOO_MANY_STREAMS";

  constructor(open: string) {
    super(`${open}, which is the most: close streams that are no longer read`);
  }
}
