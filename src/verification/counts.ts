import type { Meter } from "#src/platform/meter.ts";
import type { KeyLookup } from "./key-lookup.ts";
import type { VerifyKey } from "./verify-key.ts";

/** Shows how many look-ups of keys the database was spared. */
export function countLookups(meter: Meter, { counts }: Pick<KeyLookup, "counts">): void {
  meter.total({
    name: "patchbay_key_cache_hits_total",
    help: "Look-ups of presented keys that were answered from memory.",
    read: () => counts.remembered,
  });
  meter.total({
    name: "patchbay_key_cache_misses_total",
    help: "Look-ups of presented keys that asked the database.",
    read: () => counts.asked,
  });
}

/** The same, and counts what becomes of the keys that services ask about. */
export function countVerdicts(meter: Meter, verify: VerifyKey): VerifyKey {
  const count = meter.counter({
    name: "patchbay_key_verdicts_total",
    help: "Keys that services asked about: good, or the reason for which they were refused.",
    labels: ["outcome"],
  });
  return async (question, orgId) => {
    const verdict = await verify(question, orgId);
    count({ outcome: verdict.refusal?.reason ?? "good" });
    return verdict;
  };
}
