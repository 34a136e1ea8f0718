import { sql } from "#src/db/drizzle.cjs";
import { textArray } from "#src/db/columns.ts";
import type { Database } from "#src/db/database.ts";

/** Wakes those who wait for changes of an organisation's connections: at once if one is announced, else a second later. */
export interface Heads {
  /** Calls `wake` when something may be behind the position, until it is disposed of. */
  watch(orgId: string, position: () => number, wake: () => void): Disposable;
}

interface Reader {
  readonly position: () => number;
  readonly wake: () => void;
}

/** The readers of an organisation's changes. */
interface Watched {
  readonly readers: Set<Reader>;
  /** Set for a while behind each announcement. */
  rest?: NodeJS.Timeout | undefined;
  /** Whether more was announced meanwhile. */
  isBehind: boolean;
}

/** What probes find is not announced, and announcements get lost. */
const everyMs = 1_000;
/** However many changes are announced: each reader reads all that there are by then. */
const restMs = 250;

/** Asks for the heads of all organisations that are watched in one statement, however many there are. */
export async function createHeads(database: Pick<Database, "single" | "listen">): Promise<Heads> {
  const watched = new Map<string, Watched>();
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;

  async function look(): Promise<void> {
    if (isLooking) return;
    isLooking = true;
    const lowest = [...watched.values()].map(({ readers }) =>
      [...readers].reduce((least, { position }) => Math.min(least, position()), Infinity),
    );
    try {
      const moved = await database.single((tx) =>
        tx.execute<{ orgId: string; seq: string }>(
          sql`select org_id as "orgId", seq from moved_connections(
            ${textArray([...watched.keys()])}, ${sql.param(lowest)}::bigint[])`,
        ),
      );
      for (const { orgId, seq } of moved) {
        for (const { position, wake } of watched.get(orgId)?.readers ?? []) {
          if (position() < Number(seq)) wake();
        }
      }
    } catch {
      // The database is away; whoever calls it says so. The next look comes.
    } finally {
      isLooking = false;
    }
  }

  function wakeAll({ readers }: Watched): void {
    for (const { wake } of readers) wake();
  }

  function announced(one: Watched): void {
    one.isBehind = one.rest !== undefined;
    if (one.isBehind) return;
    wakeAll(one);
    one.rest = setTimeout(() => {
      one.rest = undefined;
      if (one.isBehind) announced(one);
    }, restMs).unref();
  }

  await database.listen({
    notified(what) {
      const [kind, orgId = ""] = what.split("/");
      const one = kind === "connection" ? watched.get(orgId) : undefined;
      if (one !== undefined) announced(one);
    },
    listening: (isListening) => {
      if (isListening) for (const one of watched.values()) wakeAll(one);
    },
  });

  function begin(orgId: string): Watched {
    const one: Watched = { readers: new Set(), isBehind: false };
    watched.set(orgId, one);
    timer ??= setInterval(() => void look(), everyMs).unref();
    return one;
  }

  function end(orgId: string): void {
    watched.delete(orgId);
    if (watched.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  return {
    watch(orgId, position, wake) {
      const { readers } = watched.get(orgId) ?? begin(orgId);
      const reader = { position, wake };
      readers.add(reader);
      return {
        [Symbol.dispose]() {
          readers.delete(reader);
          if (readers.size === 0 && watched.get(orgId)?.readers === readers) end(orgId);
        },
      };
    },
  };
}
