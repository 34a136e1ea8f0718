import { expect } from "vitest";
import type { TestDatabase } from "./postgres.ts";

/** Until a statement in the database waits for a lock that another transaction holds. */
export async function untilOneWaits(postgres: TestDatabase): Promise<void> {
  const waiting =
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  await expect.poll(() => postgres.asOwner(waiting), { interval: 5, timeout: 20_000 }).toHaveLength(1);
}
