import type { ImportProblem } from "../import/imported.ts";

/** Past that, they are no longer read by anyone, and a hostile document has one in each of its nodes. */
const maxProblems = 10_000;

/** What is found wrong while a document is read. */
export interface Problems {
  add(pointer: string, reason: string): void;
  /** In the order in which they were found, each once. */
  readonly list: readonly ImportProblem[];
}

/** Starts without any. */
export function createProblems(): Problems {
  const found = new Map<string, ImportProblem>();
  return {
    add(pointer, reason) {
      if (found.size > maxProblems) return;
      const problem =
        found.size < maxProblems
          ? { pointer, reason }
          : {
              pointer: "",
              reason: `what else is wrong is not listed: it is more than ${maxProblems} problems`,
            };
      // What several operations share is read for each of them.
      found.set(`${problem.pointer}\n${problem.reason}`, problem);
    },
    get list() {
      return [...found.values()];
    },
  };
}
