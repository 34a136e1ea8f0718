import type { Meter } from "#src/platform/meter.ts";
import type { RootKey } from "./root-key.ts";

/** Answers the same root keys, with their answers timed: they may be services that are slow, or away. */
export function createTimedRootKey(meter: Meter): (rootKey: RootKey) => RootKey {
  const seconds = meter.duration({
    name: "patchbay_root_key_seconds",
    help: "How long the root key took to wrap or unwrap a key, and whether it did.",
    labels: ["operation", "outcome"],
    awaited: [
      { operation: "wrap", outcome: "failed" },
      { operation: "unwrap", outcome: "failed" },
    ],
  });

  async function timed<T>(operation: "wrap" | "unwrap", ask: () => Promise<T>): Promise<T> {
    const began = performance.now();
    let outcome = "failed";
    try {
      const answer = await ask();
      outcome = "ok";
      return answer;
    } finally {
      seconds({ operation, outcome }, (performance.now() - began) / 1000);
    }
  }

  return (rootKey) => ({
    id: rootKey.id,
    wrap: (key, context) => timed("wrap", () => rootKey.wrap(key, context)),
    unwrap: (wrapped, context) => timed("unwrap", () => rootKey.unwrap(wrapped, context)),
  });
}
