import type { Log } from "#src/platform/log.ts";

const texts = {
  slow: "the root key is slow to unwrap an organisation's key; its calls are refused",
  failed: "the root key did not unwrap an organisation's key",
  refused: "the root key did not unwrap an organisation's key, and will not until something is changed",
} as const;

/** After a warning, the next one of its kind comes after this at the earliest, and counts what came between. */
const quietMs = 10_000;

interface Quiet {
  readonly untilMs: number;
  unsaid: number;
}

/** Warns of a root key that is away: each organisation that is called for notices, and there may be thousands. */
export function createRootKeyWarnings(log: Log, monotonicNow: () => number) {
  const quiet = new Map<keyof typeof texts, Quiet>();

  return (kind: keyof typeof texts, orgId: string, err?: unknown): void => {
    const last = quiet.get(kind);
    const at = monotonicNow();
    if (last !== undefined && at < last.untilMs) {
      last.unsaid += 1;
      return;
    }
    quiet.set(kind, { untilMs: at + quietMs, unsaid: 0 });
    const unsaid = last?.unsaid ?? 0;
    log.warn({ ...(err !== undefined && { err }), orgId, ...(unsaid > 0 && { unsaid }) }, texts[kind]);
  };
}
