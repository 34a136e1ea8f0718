import { IntakeUnavailable } from "#src/eventlog/errors.ts";
import { answerMs } from "#src/eventlog/eventlog.ts";
import { within } from "#src/platform/within.ts";

/** The time in which a sender must be answered, beside what it takes to send its body. */
export interface AnswerTime {
  leftMs(): number;
  /** What is asked before anything is stored. Throws IntakeUnavailable if it is not answered in time. */
  before<T>(work: Promise<T>): Promise<T>;
  /** What the sender takes. */
  uncounted<T>(work: Promise<T>): Promise<T>;
}

/** The time of a request that comes now. */
export function newAnswerTime(milliseconds = answerMs): AnswerTime {
  let endsAt = performance.now() + milliseconds;
  const leftMs = () => Math.max(0, endsAt - performance.now());
  return {
    leftMs,
    async before(work) {
      try {
        return await within(leftMs(), work, () => IntakeUnavailable.late());
      } catch (error) {
        throw IntakeUnavailable.of(error);
      }
    },
    async uncounted(work) {
      const began = performance.now();
      return await work.finally(() => (endsAt += performance.now() - began));
    },
  };
}
