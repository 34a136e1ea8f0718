import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readFailure, type Outcome, type Refusal } from "./failure.ts";

/** One write of one record, as its caller knows it. */
export interface Write {
  /** By which the audit log knows it again. */
  readonly requestId: string;
  readonly record: string;
  /** What the record is if the write was made. */
  readonly after: string;
  /** Undefined while its caller waits for the answer. */
  outcome: Outcome | undefined;
}

const pauseMs = 20;

/** What callers know of their writes, kept outside of the process that may die. */
export class Journal {
  readonly writes: Write[] = [];
  readonly refusals: Refusal[] = [];
  /** No write is begun any more. */
  isOver = false;

  /** Makes a write, again while it is refused; undefined if nobody knows whether it was made, or the load is over. */
  async write<T>(
    record: string,
    after: string,
    send: (requestId: string) => Promise<T>,
  ): Promise<T | undefined> {
    while (!this.isOver) {
      const requestId = randomUUID();
      const entry: Write = { requestId, record, after, outcome: undefined };
      this.writes.push(entry);
      try {
        const answer = await send(requestId);
        entry.outcome = "acknowledged";
        return answer;
      } catch (error) {
        entry.outcome = await this.failed(error);
        if (entry.outcome === "unknown") return undefined;
      }
    }
    return undefined;
  }

  /** Keeps what a caller was told, and waits a little, as callers do. */
  async failed(error: unknown): Promise<Outcome> {
    const { refusal, outcome } = readFailure(error);
    if (refusal !== undefined) this.refusals.push(refusal);
    await sleep(pauseMs);
    return outcome;
  }
}
