import { ServiceError } from "#src/platform/errors.ts";

/** The caller's organisation has no such group. */
export class GroupNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such event group; list them with GET /api/event-groups";
}

/** The events are not dead, or not any more. */
export class NotDead extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";

  constructor(groupId: string, seqs: readonly number[]) {
    super(
      `nothing was done, as the group has no dead events with these numbers: ${seqs.join(", ")}; list them with GET /api/event-groups/${groupId}/dead`,
    );
  }
}

/** The consumer's time for these deliveries is over. */
export class DeliveryOver extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "DELIVERY_OVER";

  constructor(tokens: readonly string[]) {
    // Headers have an end.
    const named = tokens.slice(0, mostNamed).join(" ");
    const more = tokens.length > mostNamed ? `, and ${tokens.length - mostNamed} more` : "";
    super(
      `nothing was done: some tokens are of deliveries that are over, so their events were given back, and another consumer may have them; leave these out: ${named}${more}`,
      { metadata: { tokens: named } },
    );
  }
}

const mostNamed = 50;
