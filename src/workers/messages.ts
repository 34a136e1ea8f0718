import type { Budget, RateLimit } from "#src/ratelimit/gcra.ts";
import type { AnnouncedLimiter } from "#src/ratelimit/together.ts";
import type { Measures } from "#src/metrics/metrics.ts";

/** What a worker begins with. */
export interface Assignment {
  /** The number of the worker, which no later one of this start gets. */
  readonly worker: number;
  readonly port: number;
  /** The embedded database; undefined for an external one, which the worker finds in its settings. */
  readonly databaseUrl: string | undefined;
}

/** One call of a name, to be counted with those that other workers report. */
export interface Spending {
  readonly name: string;
  readonly rate: RateLimit;
  readonly alreadyMade?: number | undefined;
}

/** What a worker lets the others count as well. */
export interface Announcement extends Spending {
  readonly limiter: AnnouncedLimiter;
}

/** What the primary says to a worker. */
export type FromPrimary =
  | { readonly kind: "assignment"; readonly assignment: Assignment }
  /** The start is done: the worker may say that it is ready. */
  | { readonly kind: "go" }
  | { readonly kind: "stop" }
  /** It shall say whether it hears. */
  | { readonly kind: "check" }
  | { readonly kind: "counted"; readonly id: number; readonly budgets: readonly Budget[] }
  | { readonly kind: "announced"; readonly spent: readonly Announcement[] }
  | { readonly kind: "measure" };

/** What a worker says to the primary. */
export type FromWorker =
  /** It hears what is said from now on. */
  | { readonly kind: "here" }
  | { readonly kind: "listening"; readonly address: Address }
  | { readonly kind: "ready" }
  | { readonly kind: "hears" }
  /** It takes no more connections and ends when its calls have: another may take its place. */
  | { readonly kind: "leaving" }
  /** It could not start. */
  | { readonly kind: "failed"; readonly problem: string }
  | { readonly kind: "count"; readonly id: number; readonly spent: readonly Spending[] }
  | { readonly kind: "announce"; readonly spent: readonly Announcement[] }
  | { readonly kind: "measures"; readonly measures: Measures };

/** Where the port is. */
export interface Address {
  readonly host: string;
  readonly port: number;
}
