import { parentPort } from "node:worker_threads";
import { createContractCheck, type ContractCheck } from "./contract-check.ts";
import type { Answered, Asked } from "./question.ts";
import { within } from "./within.ts";

/** What real documents need is a third of it at most, on a machine that has nothing else to do. */
const limitMs = 1_000;

const checks = new Map<number, ContractCheck>();

parentPort?.on("message", ({ question, id, contract, forgotten }: Asked) => {
  for (const one of forgotten) checks.delete(one);
  if (contract !== undefined) checks.set(id, createContractCheck(contract));
  const began = performance.now();
  const checked = within(limitMs, () => checks.get(id)?.(question));
  // What was stopped in its midst may be half done.
  if (checked === undefined) checks.delete(id);
  const answer: Answered = checked && { checked, tookMs: performance.now() - began };
  parentPort?.postMessage(answer);
});
