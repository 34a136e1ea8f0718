import type { LoggedEvent } from "#src/eventlog/event.ts";
import { selectedType } from "#src/eventlog/selection.ts";
import { waiting, type BacklogEvent } from "./delivery.ts";
import type { Group, Ordering } from "./group.ts";

/** What of the log a pull takes, and how far the group has come with that. */
export interface Choice {
  readonly taken: readonly { readonly event: LoggedEvent; readonly key: string | null }[];
  /** Held up by the order, while others pass. */
  readonly heldUp: readonly BacklogEvent[];
  readonly seq: number;
}

/** What a pull may take. */
export interface Room {
  /** How many events. */
  readonly most: number;
  /** What is held up by what is delivered or waits. */
  readonly busy: ReadonlySet<string>;
  /** How many more may wait while others pass. */
  readonly mayWait: number;
  readonly now: Date;
}

/** Chooses from the events that follow the group's position, in their order. */
export function choose(
  { types, ordering, seq: position }: Pick<Group, "types" | "ordering" | "seq">,
  events: readonly LoggedEvent[],
  { most, busy, mayWait, now }: Room,
): Choice {
  const taken: { event: LoggedEvent; key: string | null }[] = [];
  const heldUp: BacklogEvent[] = [];
  let seq = position;
  for (const event of events) {
    if (types.length === 0 || selectedType(event, types) !== undefined) {
      const key = keyOf(event, ordering);
      if (key !== null && busy.has(key)) {
        // With one key for all of them, none could pass.
        if (ordering === "log" || heldUp.length >= mayWait) break;
        heldUp.push(waiting(event.seq, key, 0, now));
      } else {
        if (taken.length >= most) break;
        taken.push({ event, key });
      }
    }
    seq = event.seq;
  }
  return { taken, heldUp, seq };
}

/** What the event holds up until it is settled. One without a subject has no order among subjects. */
function keyOf({ subject }: LoggedEvent, ordering: Ordering): string | null {
  if (ordering === "log") return "";
  return ordering === "subject" ? (subject ?? null) : null;
}

/**
 * Of events that were delivered before, in their order, those to deliver together: one that has failed half as often as
 * it may comes alone, so that an event that ends its consumers takes no others with it.
 */
export function together<Event extends { readonly deliveries: number }>(
  events: readonly Event[],
  { maxDeliveries }: Pick<Group, "maxDeliveries">,
): readonly Event[] {
  const suspicious = events.findIndex(({ deliveries }) => deliveries > 0 && deliveries * 2 >= maxDeliveries);
  if (suspicious === -1) return events;
  return events.slice(0, Math.max(1, suspicious));
}
