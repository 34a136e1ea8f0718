import { setImmediate as laterInThisTurn } from "node:timers/promises";
import type { Database, Tx } from "#src/db/database.ts";
import { DatabaseError, DatabaseUnavailable } from "#src/db/errors.ts";
import { IntakeUnavailable, LogNotFound } from "./errors.ts";
import type { NewEvent } from "./event.ts";
import { createLine, type Waiting } from "./intake-line.ts";
import { acceptEvents, type SealedArrival } from "./intake-store.ts";

/** What came for a channel. */
export interface Arrival extends NewEvent {
  /** The channel's id, which is the name of its log. */
  readonly log: string;
  /** The first 16 bytes of the SHA-256 of what it is known again by; undefined if it is never known again. */
  readonly key: Buffer | undefined;
}

/** Where an event stands in its log. */
export interface Accepted {
  readonly seq: number;
  /** False if it had come before: the number is that of the first. */
  readonly isNew: boolean;
}

/** What is written in the same transaction, before the events. It belongs to no organisation, as in `database.system`. */
export type WrittenWith = (tx: Tx) => Promise<void>;

/** Takes events in: all of a call in one transaction, and answers once they are committed, or when the time is over. */
export type Accept = (
  orgId: string,
  arrivals: readonly SealedArrival[],
  also: WrittenWith | undefined,
  answerMs: number,
) => Promise<readonly (Accepted | undefined)[]>;

/**
 * Group commit: one writer takes whatever waits into its next transaction, so the cost of a commit is shared by all who
 * wait for it. There is no timer: an idle service adds no delay.
 */
export function createIntake(parts: { database: Pick<Database, "system">; now: () => Date }): Accept {
  const { database, now } = parts;
  const line = createLine();
  let isWriting = false;

  /** In the skipping way, what comes for a channel whose head is held is left out. */
  async function commit(batch: readonly Waiting[], way: "waiting" | "skipping"): Promise<void> {
    const arrivals = batch.flatMap((one) => one.arrivals);
    const accepted = await database.system(async (tx) => {
      for (const { also } of batch) await also?.(tx);
      const stored = await acceptEvents(tx, arrivals, now(), way);
      if (batch[0]?.also !== undefined && stored.includes(undefined)) throw new LogNotFound();
      return stored;
    });
    let from = 0;
    for (const one of batch) {
      const its = accepted.slice(from, (from += one.arrivals.length));
      if (way === "skipping" && its.includes(undefined)) one.reject(IntakeUnavailable.held());
      else one.resolve(its);
    }
  }

  async function write(batch: readonly Waiting[]): Promise<void> {
    try {
      await commit(batch, "waiting");
    } catch (error) {
      if (isHeld(error) && batch.length > 1)
        await commit(batch, "skipping").catch((again: unknown) => refuse(batch, again));
      else if (isAboutData(error) && batch.length > 1) await writeHalves(batch);
      else refuse(batch, error);
    }
  }

  /** One that the database refuses for what it holds must not take the others with it. */
  async function writeHalves(batch: readonly Waiting[]): Promise<void> {
    const half = Math.ceil(batch.length / 2);
    await write(batch.slice(0, half));
    await write(batch.slice(half));
  }

  async function writeAll(): Promise<void> {
    isWriting = true;
    // Whatever arrived in the same turn goes along.
    await laterInThisTurn();
    while (!line.isEmpty) await write(line.next());
    isWriting = false;
  }

  return async (orgId, arrivals, also, answerMs) => {
    const answer = Promise.withResolvers<readonly (Accepted | undefined)[]>();
    const leave = line.join({ ...answer, orgId, arrivals, also });
    if (leave === undefined) throw IntakeUnavailable.full();
    if (!isWriting) void writeAll();
    const giveUp = () => answer.reject(leave() ? IntakeUnavailable.late() : IntakeUnavailable.inDoubt());
    const deadline = setTimeout(giveUp, answerMs);
    return await answer.promise.finally(() => clearTimeout(deadline));
  };
}

function refuse(batch: readonly Waiting[], error: unknown): void {
  for (const one of batch) one.reject(IntakeUnavailable.of(error));
}

/** Another transaction kept a channel's head for too long, such as one that deletes it. */
function isHeld(error: unknown): boolean {
  return causeOf(error) === "55P03";
}

/** Whether the same would be refused again, and others would not. */
function isAboutData(error: unknown): boolean {
  return !(error instanceof DatabaseUnavailable);
}

function causeOf(error: unknown): string | undefined {
  const cause = error instanceof DatabaseUnavailable ? error.cause : error;
  return cause instanceof DatabaseError ? cause.code : undefined;
}
