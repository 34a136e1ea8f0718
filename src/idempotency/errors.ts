import { ServiceError } from "#src/platform/errors.ts";

/** A request with this Idempotency-Key took effect before. Its answer was not kept. */
export class AlreadyCreated extends ServiceError {
  readonly kind = "already_exists";
  readonly reason = "ALREADY_CREATED";

  /** `repeated` is the method's own sentence, `{id}` standing for what the request was about. */
  constructor(id: string, repeated: string) {
    super(`already created: ${repeated.replaceAll("{id}", id)}`, { metadata: { id } });
  }
}

/** The Idempotency-Key stands for another request of the same caller. */
export class IdempotencyKeyReused extends ServiceError {
  readonly kind = "already_exists";
  readonly reason = "IDEMPOTENCY_KEY_REUSED";
  override readonly message =
    "idempotency-key: was used for another request within 24 hours; give each request one of its own, " +
    "and repeat it only with the same request";
}
