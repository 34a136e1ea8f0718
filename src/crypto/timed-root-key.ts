import type { Meter } from "#src/platform/meter.ts";
import type { RootKey } from "./root-key.ts";

/** The same root key, with its answers timed: it may be a service that is slow, or away. */
export function timedRootKey(rootKey: RootKey, meter: Meter): RootKey {
  const seconds = meter.duration({
    name: "patchbay_root_key_seconds",
    help: "How long the root key took to wrap or unwrap a key, and whether it did.",
    labels: ["operation", "outcome"],
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

  return {
    id: rootKey.id,
    wrap: (key, context) => timed("wrap", () => rootKey.wrap(key, context)),
    unwrap: (wrapped, context) => timed("unwrap", () => rootKey.unwrap(wrapped, context)),
  };
}
