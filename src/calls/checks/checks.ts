import { LRUCache } from "lru-cache";
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

/** How long nothing more is asked about a schema that took too long, and its organisation asks in a thread apart. */
const apartMs = 60_000;
const maxApart = 1_000;
/** As many outputs of an organisation wait. */
const maxOutputs = 4;

/** Checks in threads: a schema of a foreign document can take any time. */
export function createChecks({ log }: { log: Log }): Checks {
  const usual = createCheckThread(log);
  const apart = createCheckThread(log);
  const slowOrgs = new LRUCache<string, true>({ max: maxApart, ttl: apartMs });
  const slow = { input: slowContracts(), output: slowContracts() };
  const outputs = createTally();

  async function ask(orgId: string, contract: OperationContract, question: Question): Promise<Checked> {
    const slowOnes = "input" in question ? slow.input : slow.output;
    if (slowOnes.has(contract)) return tooSlow;
    // One organisation's schemas do not keep another waiting for long.
    const thread = slowOrgs.has(orgId) ? apart : usual;
    try {
      const answer = await thread.ask(orgId, contract, question);
      if (answer !== undefined) return answer;
      slowOrgs.set(orgId, true);
      slowOnes.set(contract, true);
      return tooSlow;
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

function slowContracts() {
  return new LRUCache<OperationContract, true>({ max: maxApart, ttl: apartMs });
}

const tooSlow: Checked = {
  problems: [],
  notChecked: "its schema takes too long to check; it is tried again in a minute",
};
const tooMany: Checked = { problems: [], notChecked: "too much is being checked; try again" };
