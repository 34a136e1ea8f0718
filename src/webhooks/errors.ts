import { ServiceError } from "#src/platform/errors.ts";

/** The caller's organisation has no such endpoint. */
export class EndpointNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such endpoint; list them with GET /api/webhook-endpoints";
}
