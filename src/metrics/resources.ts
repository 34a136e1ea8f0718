import type { Database } from "#src/db/database.ts";
import type { ByteBudget } from "#src/platform/byte-budget.ts";
import type { Meter } from "#src/platform/meter.ts";
import type { Tracing } from "#src/platform/tracing.ts";

/** Shows how much of what all calls share is in use: connections to the database, and memory. */
export function meterResources(meter: Meter, { database, budget, tracing }: Resources): void {
  meter.gauge({
    name: "patchbay_database_connections",
    help: "Connections to the database that this process may open for its operations.",
    read: () => database.load().size,
  });
  meter.gauge({
    name: "patchbay_database_connections_in_use",
    help: "Connections to the database that an operation has now.",
    read: () => database.load().inUse,
  });
  meter.gauge({
    name: "patchbay_database_operations_waiting",
    help: "Operations that wait for a connection to the database now.",
    read: () => database.load().waiting,
  });
  meter.total({
    name: "patchbay_database_connections_lost_total",
    help: "Connections to the database that were lost during an operation.",
    read: () => database.load().lost,
  });
  meter.gauge({
    name: "patchbay_held_bytes",
    help: "Bytes that calls hold in memory now, of their budget.",
    read: () => budget.load().bytes,
  });
  meter.gauge({
    name: "patchbay_held_bytes_limit",
    help: "The budget of bytes that calls may hold in memory.",
    read: () => budget.load().totalBytes,
  });
  meter.total({
    name: "patchbay_unread_answers_cut_total",
    help: "Answers that were cut because their callers did not read them, and others needed the room.",
    read: () => budget.load().cut,
  });
  meter.total({
    name: "patchbay_trace_spans_total",
    help: "Spans of traces that ended.",
    read: () => tracing?.counts.ended ?? 0,
  });
  meter.total({
    name: "patchbay_trace_spans_sent_total",
    help: "Spans that the receiver of traces took.",
    read: () => tracing?.counts.taken ?? 0,
  });
}

/** Shows what load balancers are told. */
export function meterReadiness(meter: Meter, readiness: { readonly ready: boolean }): void {
  meter.gauge({
    name: "patchbay_ready",
    help: "1 if the service takes calls, 0 if it starts, stops, or its database does not answer.",
    read: () => (readiness.ready ? 1 : 0),
  });
}

interface Resources {
  readonly database: Pick<Database, "load">;
  readonly budget: Pick<ByteBudget, "load">;
  readonly tracing: Pick<Tracing, "counts"> | undefined;
}
