import { sql } from "#src/db/drizzle.cjs";
import { textArray } from "#src/db/columns.ts";
import type { Database } from "#src/db/database.ts";

/** Wakes those who wait for changes of an organisation's connections: at once if one is announced, else a second later. */
export interface Heads {
  /** Calls `wake` when something may be behind the position, until it is disposed of. */
  watch(orgId: string, position: () => number, wake: () => void): Disposable;
}

interface Watcher {
  readonly orgId: string;
  readonly position: () => number;
  readonly wake: () => void;
}

/** What probes find is not announced, and announcements get lost. */
const everyMs = 1_000;

/** Asks for the heads of all organisations that are watched in one statement, however many there are. */
export async function createHeads(database: Pick<Database, "single" | "listen">): Promise<Heads> {
  const watchers = new Set<Watcher>();
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;

  function wake(orgIds: ReadonlySet<string> | undefined): void {
    for (const watcher of watchers) {
      if (orgIds === undefined || orgIds.has(watcher.orgId)) watcher.wake();
    }
  }

  async function look(): Promise<void> {
    if (isLooking) return;
    isLooking = true;
    const lowest = new Map<string, number>();
    for (const { orgId, position } of watchers) {
      lowest.set(orgId, Math.min(position(), lowest.get(orgId) ?? Infinity));
    }
    try {
      const moved = await database.single((tx) =>
        tx.execute<{ orgId: string }>(
          sql`select org_id as "orgId" from moved_connections(
            ${textArray([...lowest.keys()])}, ${sql.param([...lowest.values()])}::bigint[])`,
        ),
      );
      wake(new Set(moved.map(({ orgId }) => orgId)));
    } catch {
      // The database is away; whoever calls it says so. The next look comes.
    } finally {
      isLooking = false;
    }
  }

  await database.listen({
    notified(what) {
      const [kind, orgId = ""] = what.split("/");
      if (kind === "connection") wake(new Set([orgId]));
    },
    listening: (isListening) => {
      if (isListening) wake(undefined);
    },
  });

  return {
    watch(orgId, position, wake) {
      const watcher = { orgId, position, wake };
      watchers.add(watcher);
      timer ??= setInterval(() => void look(), everyMs).unref();
      return {
        [Symbol.dispose]() {
          watchers.delete(watcher);
          if (watchers.size > 0) return;
          clearInterval(timer);
          timer = undefined;
        },
      };
    },
  };
}
