import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { ImportedOperation } from "./import/imported.ts";
import type { ChangedOperation, OperationRow, OperationsDiff } from "./import/reading.ts";
import type { BodyForm, Parameter } from "./operation.ts";
import { factsOf, type Compared, type OperationFacts } from "./diff/operation.ts";
import { messagesOf, type Marks } from "./diff/messages.ts";
import { SchemaPairs, type Pair } from "./diff/schema-pairs.ts";

/** A description of a service as it is stored, its definitions as JSON by name. */
export interface StoredOperations {
  readonly operations: readonly OperationRow[];
  readonly definitions: ReadonlyMap<string, string>;
}

/** A description of a service as it is read. */
export interface ReadOperations {
  readonly operations: readonly ImportedOperation[];
  readonly definitions: ReadonlyMap<string, JsonObject>;
}

/** Of all operations together, so that an answer can carry them. */
const mostCharacters = 256 * 1024;

/**
 * How the operations of a description differ from those that are stored. It takes time by the size of both, and not by
 * what their schemas make of it.
 */
export function diffOperations(before: StoredOperations, after: ReadOperations): OperationsDiff {
  const was = new Map(before.operations.map((operation) => [nameOf(operation), operation]));
  const is = new Map(after.operations.map((operation) => [nameOf(operation), operation]));
  const added = [...is.keys()].filter((name) => !was.has(name));
  const removed = [...was.keys()].filter((name) => !is.has(name));
  const changed = changedOperations(was, is, before, after);
  return {
    added,
    removed,
    changed,
    breaking: removed.length > 0 || changed.some(({ breaking }) => breaking),
  };
}

function nameOf({ method, path }: { readonly method: string; readonly path: string }): string {
  return `${method} ${path}`;
}

interface Comparison extends OperationFacts {
  readonly operation: string;
  readonly pairs: readonly { readonly subject: string; readonly pair: Pair }[];
  /** Whether it differs though nothing can be said of it. */
  readonly isKnown: boolean;
}

function changedOperations(
  was: ReadonlyMap<string, OperationRow>,
  is: ReadonlyMap<string, ImportedOperation>,
  before: StoredOperations,
  after: ReadOperations,
): ChangedOperation[] {
  const pairs = new SchemaPairs(parsedOnce(before.definitions), (name) => after.definitions.get(name));
  const comparisons: Comparison[] = [];
  for (const [operation, now] of is) {
    const row = was.get(operation);
    if (row === undefined || row.fingerprint === now.fingerprint) continue;
    const { facts, roots } = factsOf(comparedFrom(row), now);
    const added = roots.map((root) => ({
      subject: root.subject,
      pair: pairs.add(root.before, root.after, root.direction),
    }));
    comparisons.push({ operation, facts, roots, pairs: added, isKnown: row.fingerprint !== "" });
  }
  pairs.compare();
  const marks: Marks = {
    breaking: pairs.reaching(({ breaking }) => breaking),
    any: pairs.reaching(() => true),
  };
  let left = mostCharacters;
  return comparisons.flatMap((comparison) => {
    const found = changedOperation(comparison, marks, left > 0);
    for (const text of found?.what ?? []) left -= text.length;
    return found ?? [];
  });
}

function changedOperation(
  { operation, facts, pairs, isKnown }: Comparison,
  marks: Marks,
  saysAll: boolean,
): ChangedOperation | undefined {
  const isBreaking =
    facts.some(({ breaking }) => breaking) || pairs.some(({ pair }) => marks.breaking.has(pair));
  const isChanged = facts.length > 0 || pairs.some(({ pair }) => marks.any.has(pair));
  // Of what comes with Patchbay there is no fingerprint, so a difference is known only by what it is.
  if (!isChanged && !isKnown) return undefined;
  if (!isChanged) return { operation, breaking: false, what: ["texts in its schemas are others now"] };
  const what = saysAll ? messagesOf(facts, pairs, marks) : [];
  if (what.length === 0)
    what.push(saysAll ? "it differs deep within its schemas" : "it differs, as many others do");
  return { operation, breaking: isBreaking, what };
}

function comparedFrom(row: OperationRow): Compared {
  return {
    ...{ name: row.name, deprecated: row.deprecated, scopes: row.scopes },
    operationId: row.operationId ?? undefined,
    description: row.description ?? undefined,
    // They are what an import has written.
    parameters: JSON.parse(row.parameters) as Parameter[],
    body: row.body === null ? undefined : (JSON.parse(row.body) as BodyForm),
    inputSchema: row.inputSchema === null ? undefined : (JSON.parse(row.inputSchema) as JsonObject),
    outputSchema: row.outputSchema === null ? undefined : (JSON.parse(row.outputSchema) as JsonObject),
  };
}

/** Only what some changed operation needs is parsed, and the same object is answered each time. */
function parsedOnce(definitions: ReadonlyMap<string, string>): (name: string) => JsonValue | undefined {
  const parsed = new Map<string, JsonValue>();
  return (name) => {
    const known = parsed.get(name);
    if (known !== undefined) return known;
    const text = definitions.get(name);
    if (text === undefined) return undefined;
    const schema = JSON.parse(text) as JsonValue;
    parsed.set(name, schema);
    return schema;
  };
}
