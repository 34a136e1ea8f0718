import { createTally } from "#src/platform/tally.ts";
import { turnsOf, WaitedTooLong } from "#src/platform/turns.ts";
import { ImportBusy } from "./errors.ts";

/** With the one that runs. Two of one organisation, so that it never waits for more than one of each other. */
const mostOfOne = 2;
/** Each that waits holds its document. */
const mostInAll = 12;
const patienceMs = 120_000;

/** Does the work of an import when its turn comes. Throws `ImportBusy` if that would take too long. */
export type ImportTurns = <T>(orgId: string, work: () => Promise<T>, signal: AbortSignal) => Promise<T>;

/** One at a time, as each takes a processor and much memory for as long as it runs. */
export function createImportTurns(): ImportTurns {
  const turn = turnsOf(1);
  const underWay = createTally();
  let inAll = 0;

  return async (orgId, work, signal) => {
    if (underWay.of(orgId) >= mostOfOne) throw new ImportBusy("organisation");
    if (inAll >= mostInAll) throw new ImportBusy("service");
    underWay.add(orgId, 1);
    inAll += 1;
    try {
      return await turn(work, { signal, patienceMs });
    } catch (error) {
      throw error instanceof WaitedTooLong ? new ImportBusy("service") : error;
    } finally {
      underWay.add(orgId, -1);
      inAll -= 1;
    }
  };
}
