import type { Database } from "#src/db/database.ts";
import type { ByteBudget } from "#src/platform/byte-budget.ts";
import type { Meter } from "#src/platform/meter.ts";

/** Shows how much of what all calls share is in use: connections to the database, and memory. */
export function meterResources(meter: Meter, { database, budget }: Resources): void {
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
}

interface Resources {
  readonly database: Pick<Database, "load">;
  readonly budget: Pick<ByteBudget, "load">;
}
