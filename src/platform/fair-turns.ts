import { turnsByName } from "./turns-by-name.ts";
import { turnsOf, type Waiting } from "./turns.ts";

/** Runs work one at a time, one of each name in turn, so that what one brings much of does not keep others waiting. */
export function fairTurns() {
  const ofAll = turnsOf(1);
  const ofName = turnsByName();

  return <T>(name: string, work: () => Promise<T>, wait: Waiting = {}): Promise<T> =>
    ofName(name, () => ofAll(work, wait), wait);
}
