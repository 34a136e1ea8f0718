import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import type { OperationContract } from "#src/operations/operation.ts";
import type { Log } from "#src/platform/log.ts";
import { createTally } from "#src/platform/tally.ts";
import { WaitedTooLong } from "#src/platform/turns.ts";
import type { InputProblem } from "../input-problems.ts";
import { createCheckThread } from "./check-thread.ts";
import type { Checked, JsonInput, Question } from "./question.ts";

/** Why the input does not fit its operation; none if it does, or if that could not be checked. */
export type InputCheck = (contract: OperationContract, input: JsonInput) => Promise<readonly InputProblem[]>;

/** Holds inputs and answers to what the catalog says of operations. */
export interface Checks {
  input(orgId: string, contract: OperationContract, input: JsonInput): Promise<Checked>;
  /** Undefined if too much is being checked. Problems of outputs hold no name or value that only the output has. */
  output(orgId: string, contract: OperationContract, body: Buffer): Promise<Checked | undefined>;
  close(): Promise<void>;
}

/** For how long it is remembered of an organisation what took long. */
const rememberedMs = 60_000;
const maxRemembered = 1_000;
/** A question of which the schema is compiled takes less. */
const longMs = 20;
/** As much as an organisation's long questions may take in that time; then it asks in a thread apart. */
const maxLongMs = 1_000;
/** As many outputs of an organisation wait. */
const maxOutputs = 4;

/** What took long of an organisation. */
interface Lately {
  tookMs: number;
  /** Those that took too long, of which nothing more is asked. */
  readonly slow: Record<"input" | "output", WeakSet<OperationContract>>;
}

/** Checks in threads: a schema of a foreign document can take any time. */
export function createChecks({ log }: { log: Log }): Checks {
  const usual = createCheckThread(log);
  const apart = createCheckThread(log);
  const lately = new LRUCache<string, Lately>({ ...upTo(maxRemembered), ttl: rememberedMs });
  const outputs = createTally();

  function noteLong(orgId: string, tookMs: number): Lately {
    const known = lately.get(orgId) ?? { tookMs: 0, slow: { input: new WeakSet(), output: new WeakSet() } };
    // Not renewed, so that it is over in time.
    if (!lately.has(orgId)) lately.set(orgId, known);
    known.tookMs += tookMs;
    return known;
  }

  async function ask(orgId: string, contract: OperationContract, question: Question): Promise<Checked> {
    const kind = "input" in question ? "input" : "output";
    const known = lately.get(orgId);
    if (known?.slow[kind].has(contract) === true) return tooSlow;
    // One organisation's schemas do not keep another waiting for long, be they slow or many.
    const thread = known !== undefined && known.tookMs >= maxLongMs ? apart : usual;
    try {
      const answer = await thread.ask(orgId, contract, question);
      if (answer === undefined) {
        noteLong(orgId, maxLongMs).slow[kind].add(contract);
        return tooSlow;
      }
      if (answer.tookMs >= longMs) noteLong(orgId, answer.tookMs);
      return answer.checked;
    } catch (error) {
      if (error instanceof WaitedTooLong) return tooMany;
      throw error;
    }
  }

  return {
    input: (orgId, contract, input) => ask(orgId, contract, { input }),
    async output(orgId, contract, body) {
      if (outputs.of(orgId) >= maxOutputs) return undefined;
      outputs.add(orgId, 1);
      try {
        // A copy: a view of a larger buffer would be sent with all of it.
        return await ask(orgId, contract, { output: new Uint8Array(body) });
      } finally {
        outputs.add(orgId, -1);
      }
    },
    async close() {
      await Promise.all([usual.close(), apart.close()]);
    },
  };
}

const tooSlow: Checked = {
  problems: [],
  notChecked: "its schema takes too long to check; it is tried again in a minute",
};
const tooMany: Checked = { problems: [], notChecked: "too much is being checked; try again" };
