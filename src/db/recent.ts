import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import type { Database } from "./database.ts";

/** How long an answer of the database is good, even if no change is announced: no change takes longer to be seen. */
export const boundMs = 5_000;
/** How many answers are remembered, and how many announced changes are told apart. */
export const maxRemembered = 10_000;

/** When the database was asked. What it answers may lack any change that was announced later. */
export interface Moment {
  /** By the monotonic clock. */
  readonly at: number;
  /** How many changes had been announced by then. */
  readonly epoch: number;
}

/**
 * What the database answered, remembered until a change of it is announced, and never longer than `boundMs`: so a dead
 * notification channel delays a change, and cannot keep it out.
 */
export interface Recent<T extends object> {
  recall(id: string): T | undefined;
  /** The moment of a question that is about to be asked. */
  moment(): Moment;
  /** Whether nothing at all was announced since then. */
  isLatest(moment: Moment): boolean;
  remember(id: string, answer: T, asked: Moment): void;
  forget(id: string): void;
  /** One question at a time for each id; but one that began before a change answers no call that came after it. */
  askOnce(id: string, ask: () => Promise<T | undefined>): Promise<T | undefined>;
}

interface Remembered<T> {
  readonly answer: T;
  readonly asked: Moment;
  /** The announcements after which it is old. */
  readonly names: readonly string[];
}

interface Asking<T> {
  readonly epoch: number;
  readonly answer: Promise<T | undefined>;
}

/** Remembers answers of one kind, and listens to what concerns them. */
export async function createRecent<T extends object>(parts: {
  database: Pick<Database, "listen">;
  /** What announcements begin with that concern any such answer, such as `key` of `key/<org>/<id>`. */
  kinds: readonly string[];
  /** The announcements after which an answer is old. */
  dependsOn: (answer: T) => readonly string[];
  monotonicNow: () => number;
}): Promise<Recent<T>> {
  const { database, kinds, dependsOn, monotonicNow } = parts;
  const known = new LRUCache<string, Remembered<T>>(upTo(maxRemembered));
  const asking = new Map<string, Asking<T>>();
  /** The epoch of each thing's last change, by its name in announcements. */
  const changes = new Map<string, number>();
  let epoch = 0;
  let forgottenAt = 0;
  let sweeping: NodeJS.Timeout | undefined;

  function forgetAll(): void {
    epoch += 1;
    forgottenAt = epoch;
    known.clear();
    changes.clear();
  }

  await database.listen({
    notified(what) {
      // What concerns others must not make these be asked for again.
      if (!kinds.includes(what.slice(0, what.indexOf("/")))) return;
      if (changes.size >= maxRemembered) forgetAll();
      epoch += 1;
      changes.set(what, epoch);
    },
    listening(isListening) {
      if (isListening) forgetAll();
    },
  });

  function isGood({ asked, names }: Remembered<T>): boolean {
    if (monotonicNow() - asked.at >= boundMs || asked.epoch < forgottenAt) return false;
    return names.every((name) => (changes.get(name) ?? 0) <= asked.epoch);
  }

  /** What nobody asks for again would stay in memory, and with it what was meant to be destroyed. */
  function sweepLater(): void {
    sweeping ??= setTimeout(() => {
      sweeping = undefined;
      for (const [id, one] of [...known.entries()]) if (!isGood(one)) known.delete(id);
      if (known.size > 0) sweepLater();
    }, boundMs).unref();
  }

  return {
    recall(id) {
      const found = known.get(id);
      if (found === undefined || isGood(found)) return found?.answer;
      known.delete(id);
      return undefined;
    },
    moment: () => ({ at: monotonicNow(), epoch }),
    isLatest: (moment) => moment.epoch === epoch,
    remember(id, answer, asked) {
      known.set(id, { answer, asked, names: dependsOn(answer) });
      sweepLater();
    },
    forget: (id) => void known.delete(id),
    askOnce(id, ask) {
      const running = asking.get(id);
      if (running?.epoch === epoch) return running.answer;
      const started: Asking<T> = {
        epoch,
        answer: ask().finally(() => {
          if (asking.get(id) === started) asking.delete(id);
        }),
      };
      asking.set(id, started);
      return started.answer;
    },
  };
}
