import { setFlagsFromString } from "node:v8";

/**
 * Keeps V8's room for young objects small while the service starts. A start makes some 50 MB of garbage once; V8 would
 * make room for it and never shrink that again, so that an idle service held 25 MB more.
 */
export function keepYoungMemorySmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}

/** Gives V8 its default back: calls may have the room that they need. */
export function letYoungMemoryGrow(): void {
  setFlagsFromString("--semi-space-growth-factor=2");
}
