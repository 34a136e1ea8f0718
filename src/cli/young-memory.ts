import { setFlagsFromString } from "node:v8";

/**
 * Keeps V8's room for young objects small while the service starts. A start makes some 50 MB of garbage once; V8 would
 * make room for it and never shrink that again, so that an idle service held 25 MB more.
 */
export function keepYoungMemorySmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}

/**
 * Has V8 make all objects among the young, which a small collection frees. V8 notes where objects come from that
 * outlived one, and makes those from there among the old from then on. Here they are of calls that were under way:
 * each call then left some behind, and with them all that they led to, until all memory was collected. A call cost a
 * third more, and the slowest of a hundred took twice as long.
 */
export function makeObjectsYoung(): void {
  setFlagsFromString("--no-allocation-site-pretenuring");
}

/** Gives V8 its default back: calls may have the room that they need. */
export function letYoungMemoryGrow(): void {
  setFlagsFromString("--semi-space-growth-factor=2");
}
