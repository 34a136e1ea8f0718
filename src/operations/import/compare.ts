import type { Imported } from "./imported.ts";
import type { OperationRow, OperationsDiff } from "./reading.ts";

/** How the operations differ from those that are stored, as far as their fingerprints say. */
export function diffOperations(
  before: { readonly operations: readonly OperationRow[]; readonly definitions: ReadonlyMap<string, string> },
  after: Pick<Imported, "operations" | "definitions">,
): OperationsDiff {
  const was = new Map(before.operations.map((one) => [nameOf(one), one.fingerprint]));
  const is = new Map(after.operations.map((one) => [nameOf(one), one.fingerprint]));
  const removed = [...was.keys()].filter((name) => !is.has(name));
  const changed = [...is].filter(([name, fingerprint]) => was.has(name) && was.get(name) !== fingerprint);
  return {
    added: [...is.keys()].filter((name) => !was.has(name)),
    removed,
    changed: changed.map(([operation]) => ({ operation, breaking: false, what: ["it differs"] })),
    breaking: removed.length > 0,
  };
}

function nameOf({ method, path }: { readonly method: string; readonly path: string }): string {
  return `${method} ${path}`;
}
