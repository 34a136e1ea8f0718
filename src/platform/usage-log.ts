import type { Log } from "./log.ts";
import { createMergedLog, type MergedLog } from "./merged-log.ts";

/** How often and when something was last used. */
export interface Use {
  readonly count: number;
  readonly lastAt: Date;
}

/** Collects uses in memory and writes them together. */
export interface UsageLog extends Omit<MergedLog<Use>, "note"> {
  note(orgId: string, id: string, at: Date): void;
}

export function createUsageLog(
  write: (orgId: string, uses: ReadonlyMap<string, Use>) => Promise<void>,
  log: Log,
): UsageLog {
  const uses = createMergedLog<Use>({ of: "last use", merge, write, log });
  return { ...uses, note: (orgId, id, at) => uses.note(orgId, id, { count: 1, lastAt: at }) };
}

function merge(known: Use, use: Use): Use {
  return {
    count: known.count + use.count,
    lastAt: use.lastAt > known.lastAt ? use.lastAt : known.lastAt,
  };
}
