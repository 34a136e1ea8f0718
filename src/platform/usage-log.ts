import type { Log } from "./log.ts";

/** How often and when something was last used. */
export interface Use {
  readonly count: number;
  readonly lastAt: Date;
}

/**
 * Collects uses in memory and writes them together: a write for each call would cost more than the call.
 * Uses that are not written yet are lost when the process is killed; a shutdown writes them.
 *
 * It is only for display. Nothing may be decided by it: another replica holds uses that are not written yet, and so
 * does this one after a write that failed.
 */
export interface UsageLog {
  note(orgId: string, id: string, at: Date): void;
  /** Writes what one organisation used until now, so that a read that follows shows it, unless the write fails. */
  flush(orgId: string): Promise<void>;
  /** Writes what is left and stops. */
  close(): Promise<void>;
}

const flushEveryMs = 10_000;

export function createUsageLog(
  write: (orgId: string, uses: ReadonlyMap<string, Use>) => Promise<void>,
  log: Log,
): UsageLog {
  const pending = new Map<string, Map<string, Use>>();
  /** The write of an organisation that is on its way, and the one that follows it. */
  const running = new Map<string, Promise<void>>();
  const following = new Map<string, Promise<void>>();

  function add(orgId: string, id: string, use: Use) {
    const uses = pending.get(orgId) ?? new Map<string, Use>();
    pending.set(orgId, uses);
    const known = uses.get(id);
    uses.set(id, {
      count: use.count + (known?.count ?? 0),
      lastAt: known === undefined || use.lastAt > known.lastAt ? use.lastAt : known.lastAt,
    });
  }

  async function writePending(orgId: string) {
    const uses = pending.get(orgId);
    if (uses === undefined) return;
    pending.delete(orgId);
    try {
      await write(orgId, uses);
    } catch (error) {
      log.warn({ err: error, orgId }, "last use not recorded; it is tried again");
      for (const [id, use] of uses) add(orgId, id, use);
    }
  }

  function start(orgId: string): Promise<void> {
    const started = writePending(orgId).finally(() => running.delete(orgId));
    running.set(orgId, started);
    return started;
  }

  /** The write that is on its way may lack the latest uses, so all calls that ask meanwhile share the next one. */
  function follow(orgId: string, before: Promise<void>): Promise<void> {
    const started = before.then(() => {
      following.delete(orgId);
      return running.get(orgId) ?? start(orgId);
    });
    following.set(orgId, started);
    return started;
  }

  function flush(orgId: string): Promise<void> {
    const before = running.get(orgId);
    if (before === undefined) return start(orgId);
    return following.get(orgId) ?? follow(orgId, before);
  }

  async function flushAll() {
    for (const orgId of new Set([...pending.keys(), ...running.keys()])) await flush(orgId);
  }

  const timer = setInterval(() => void flushAll(), flushEveryMs).unref();
  return {
    note: (orgId, id, at) => add(orgId, id, { count: 1, lastAt: at }),
    flush,
    async close() {
      clearInterval(timer);
      await flushAll();
    },
  };
}
