import type { Database } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { orEnd } from "#src/platform/or-end.ts";
import type { Group } from "./group.ts";

/** Tells a pull that waits that there may be something for it. */
export interface GroupWakes {
  /** Notices from now on whatever may free events of the group, until it is disposed of. */
  bell(group: Group): Bell;
  /** Something of the group was settled here. */
  freed(orgId: string, groupId: string): void;
  /** True once nothing waits any more, as it would hold up a shutdown. */
  readonly isStopped: boolean;
  stop(): void;
}

/** Rings when there may be something to deliver. */
export interface Bell extends Disposable {
  /** Resolves when it has rung since the last time, or after so long. Throws the signal's reason when that aborts. */
  next(milliseconds: number, signal: AbortSignal): Promise<void>;
}

export async function createGroupWakes(parts: {
  database: Pick<Database, "listen">;
  eventLog: Pick<EventLog, "wakes">;
}): Promise<GroupWakes> {
  const { database, eventLog } = parts;
  const bells = new Map<string, Set<() => void>>();
  let isStopped = false;

  function ring(name: string): void {
    for (const ringOne of bells.get(name) ?? []) ringOne();
  }

  function ringAll(): void {
    for (const name of bells.keys()) ring(name);
  }

  await database.listen({
    notified: (what) => {
      if (what.startsWith("group/")) ring(what.slice("group/".length));
    },
    // Meanwhile some may have been missed.
    listening: (isListening) => {
      if (isListening) ringAll();
    },
  });

  return {
    bell({ orgId, id, log }) {
      let hasRung = false;
      let heard: (() => void) | undefined;
      const ringOne = () => {
        hasRung = true;
        heard?.();
      };
      const name = `${orgId}/${id}`;
      const known = bells.get(name) ?? new Set();
      bells.set(name, known.add(ringOne));
      const leaveLog = eventLog.wakes.on(orgId, log, ringOne);
      return {
        async next(milliseconds, signal) {
          const { promise, resolve } = Promise.withResolvers<void>();
          heard = resolve;
          const timer = setTimeout(resolve, milliseconds);
          if (hasRung || isStopped) resolve();
          try {
            await orEnd(signal, () => promise);
          } finally {
            clearTimeout(timer);
            hasRung = false;
          }
        },
        [Symbol.dispose]() {
          leaveLog();
          known.delete(ringOne);
          if (known.size === 0) bells.delete(name);
        },
      };
    },
    freed: (orgId, groupId) => ring(`${orgId}/${groupId}`),
    get isStopped() {
      return isStopped;
    },
    stop() {
      isStopped = true;
      ringAll();
    },
  };
}
