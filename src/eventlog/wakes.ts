import type { Database } from "#src/db/database.ts";
import { auditLog } from "./event.ts";

/** Tells readers that their log may have moved. */
export interface Wakes {
  /** Calls `wake` whenever the log may have moved, until the returned function is called. */
  on(orgId: string, log: string, wake: () => void): () => void;
  /** Calls `wake` for each log that moved, `undefined` meaning any. */
  onAny(wake: (moved: { orgId: string; log: string } | undefined) => void): () => void;
}

/**
 * Batches that are taken in announce the logs that they moved. A change's audit event is announced in its own process
 * only: others look at the head of the audit log by themselves.
 */
export async function createWakes(database: Pick<Database, "listen">): Promise<Wakes> {
  const waiting = new Map<string, Set<() => void>>();
  const all = new Set<(moved: { orgId: string; log: string } | undefined) => void>();

  function wakeOne(name: string): void {
    for (const wake of waiting.get(name) ?? []) wake();
    const [orgId = "", log = ""] = name.split("/");
    for (const wake of all) wake({ orgId, log });
  }

  function wakeAll(): void {
    for (const wakes of waiting.values()) for (const wake of wakes) wake();
    for (const wake of all) wake(undefined);
  }

  await database.listen({
    notified(what) {
      const slash = what.indexOf("/");
      const [kind, names] = [what.slice(0, slash), what.slice(slash + 1)];
      if (kind === "audited") wakeOne(`${names}/${auditLog}`);
      // It ended, or keeps for another time.
      if (kind === "log") wakeOne(names);
      if (kind !== "logs") return;
      for (const name of names.split(",")) wakeOne(name);
    },
    // Meanwhile some may have been missed.
    listening: (isListening) => {
      if (isListening) wakeAll();
    },
  });

  return {
    on(orgId, log, wake) {
      const name = `${orgId}/${log}`;
      const wakes = waiting.get(name) ?? new Set();
      waiting.set(name, wakes.add(wake));
      return () => {
        wakes.delete(wake);
        if (wakes.size === 0) waiting.delete(name);
      };
    },
    onAny(wake) {
      all.add(wake);
      return () => void all.delete(wake);
    },
  };
}
