import { sql } from "#src/db/drizzle.cjs";
import type { Database } from "#src/db/database.ts";
import type { Wakes } from "./wakes.ts";

/** One reader that waits for its log. */
export interface Watch extends Disposable {
  /** Resolves when the log may have moved since this was called. */
  moved(): Promise<void>;
}

/** Tells readers when their logs move: at once if that is announced, and otherwise a second later. */
export interface Lookout {
  /** `position` answers how far the reader is. */
  watch(orgId: string, log: string, position: () => number): Watch;
}

interface Watched {
  readonly orgId: string;
  readonly log: string;
  readonly positions: Set<() => number>;
  next: PromiseWithResolvers<void>;
}

/** Announcements get lost, and changes are announced in their own process only. */
const everyMs = 1_000;

/** Looks at the ends of all logs that are watched in one statement, however many there are. */
export function createLookout(parts: { database: Pick<Database, "single">; wakes: Wakes }): Lookout {
  const { database, wakes } = parts;
  const watched = new Map<string, Watched>();
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;

  function wake(one: Watched): void {
    one.next.resolve();
    one.next = Promise.withResolvers();
  }

  async function look(): Promise<void> {
    if (isLooking) return;
    isLooking = true;
    const all = [...watched.values()];
    const column = (of: (one: Watched) => unknown) => sql.param(all.map(of));
    // Of the last of its readers: one that has just come may be ahead of those who wait.
    const end = ({ positions }: Watched) =>
      [...positions].reduce((least, position) => Math.min(least, position()), Infinity);
    try {
      const moved = await database.single((tx) =>
        tx.execute<{ n: number }>(
          sql`select n from moved_logs(
            ${column(({ orgId }) => orgId)}::text[], ${column(({ log }) => log)}::text[], ${column(end)}::bigint[])`,
        ),
      );
      for (const { n } of moved) {
        const one = all[n - 1];
        if (one !== undefined) wake(one);
      }
    } catch {
      // The database is away; whoever calls it says so. The next look comes.
    } finally {
      isLooking = false;
    }
  }

  function begin(orgId: string, log: string): Watched {
    const one: Watched = { orgId, log, positions: new Set(), next: Promise.withResolvers() };
    watched.set(`${orgId}/${log}`, one);
    timer ??= setInterval(() => void look(), everyMs).unref();
    return one;
  }

  function end(name: string): void {
    watched.delete(name);
    if (watched.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  wakes.onAny((moved) => {
    if (moved === undefined) for (const one of watched.values()) wake(one);
    else {
      const one = watched.get(`${moved.orgId}/${moved.log}`);
      if (one !== undefined) wake(one);
    }
  });

  return {
    watch(orgId, log, position) {
      const name = `${orgId}/${log}`;
      const one = watched.get(name) ?? begin(orgId, log);
      // Two readers may share a function.
      const own = () => position();
      one.positions.add(own);
      return {
        moved: () => one.next.promise,
        [Symbol.dispose]() {
          one.positions.delete(own);
          if (one.positions.size === 0 && watched.get(name) === one) end(name);
        },
      };
    },
  };
}
