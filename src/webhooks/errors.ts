import { ServiceError } from "#src/platform/errors.ts";

/** The caller's organisation has no such endpoint. */
export class EndpointNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such endpoint; list them with GET /api/webhook-endpoints";
}

/** Nothing is sent to the endpoint, and nothing sent again either. */
export class EndpointPaused extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "ENDPOINT_PAUSED";
  override readonly message =
    "the endpoint is paused; let it go on first with POST /api/webhook-endpoints/{id}/resume";
}

/** The endpoint would not get the event by itself, so it does not get it again. */
export class EventNotSelected extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "EVENT_NOT_SELECTED";

  constructor(what: string) {
    super(`${what} is not selected by the endpoint's types, or only by paused ones; set its types to get it`);
  }
}

/** There are two secrets already, and a receiver that knows neither of the new ones would refuse all. */
export class RotationUnderWay extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "TOO_MANY_SECRETS";

  constructor(until: Date) {
    super(
      `the previous secret is good until ${until.toISOString()}; rotate again after that, or give graceSeconds 0 ` +
        "to end all previous secrets now",
    );
  }
}

/** The organisation has as many endpoints as it may. */
export class TooManyEndpoints extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "QUOTA_EXHAUSTED";

  constructor(limit: number) {
    super(
      `your organisation has ${limit} webhook endpoints, and none was made: delete one that it does not need`,
      {
        metadata: { limit: String(limit) },
      },
    );
  }
}
