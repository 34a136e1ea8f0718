import { ServiceError } from "#src/platform/errors.ts";
import type { Budget } from "./gcra.ts";

/** The key, or the address that failed to authenticate, has spent its budget. */
export class RateLimited extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "RATE_LIMITED";

  constructor({ retryAfterMs }: Pick<Budget, "retryAfterMs">) {
    super("rate limit exceeded", {
      headers: { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
    });
  }
}
