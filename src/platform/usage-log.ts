import type { Log } from "./log.ts";

/** How often and when something was last used. */
export interface Use {
  readonly count: number;
  readonly lastAt: Date;
}

/**
 * Collects uses in memory and writes them together: a write for each call would cost more than the call.
 * What was not written yet when the process is killed is lost; a shutdown writes it.
 */
export interface UsageLog {
  note(orgId: string, id: string, at: Date): void;
  /** Writes what one organisation used, so that a read that follows shows it. */
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
  const writing = new Map<string, Promise<void>>();

  function add(orgId: string, id: string, use: Use) {
    const uses = pending.get(orgId) ?? new Map<string, Use>();
    pending.set(orgId, uses);
    const known = uses.get(id);
    uses.set(id, {
      count: use.count + (known?.count ?? 0),
      lastAt: known === undefined || use.lastAt > known.lastAt ? use.lastAt : known.lastAt,
    });
  }

  async function writeOut(orgId: string, uses: ReadonlyMap<string, Use>) {
    try {
      await write(orgId, uses);
    } catch (error) {
      log.warn({ err: error, orgId }, "last use not recorded; it is tried again");
      for (const [id, use] of uses) add(orgId, id, use);
    }
  }

  async function flush(orgId: string) {
    // One that is on its way has to arrive first, so that whoever reads next sees it.
    await writing.get(orgId);
    const uses = pending.get(orgId);
    if (uses === undefined) return;
    pending.delete(orgId);
    const written = writeOut(orgId, uses).finally(() => {
      if (writing.get(orgId) === written) writing.delete(orgId);
    });
    writing.set(orgId, written);
    await written;
  }

  async function flushAll() {
    for (const orgId of [...pending.keys()]) await flush(orgId);
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
