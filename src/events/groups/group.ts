import type { Environment } from "#src/platform/caller.ts";

/** What an event that is not acknowledged yet holds up. */
export type Ordering = "none" | "subject" | "log";

/** Consumers that share a log. */
export interface Group {
  readonly orgId: string;
  readonly id: string;
  readonly environment: Environment;
  readonly name: string;
  readonly log: string;
  /** Patterns of types; all if empty. */
  readonly types: readonly string[];
  readonly ordering: Ordering;
  readonly ackSeconds: number;
  readonly maxDeliveries: number;
  /** Up to here, each event was delivered, left out or put into the backlog. */
  readonly seq: number;
  readonly createdAt: Date;
  readonly createdBy: string;
}

/** How many of the group's events are in which state. */
export interface Counts {
  readonly inFlight: number;
  readonly waiting: number;
  readonly dead: number;
}
