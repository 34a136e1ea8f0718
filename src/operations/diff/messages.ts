import { lineOf } from "../reader/definition/text.ts";
import type { Fact } from "./operation.ts";
import type { Pair } from "./schema-pairs.ts";

/** The pairs in or within which there is a difference, and those with one that breaks something. */
export interface Marks {
  readonly breaking: ReadonlySet<Pair>;
  readonly any: ReadonlySet<Pair>;
}

/** Schemas of an operation, and what they are of. */
export interface Subject {
  readonly subject: string;
  readonly pair: Pair;
}

const mostMessages = 20;
const longestMessage = 300;
/** Of one operation: the rest is as good as said. */
const mostSteps = 20_000;

/** What differs, for people: first what breaks something. */
export function messagesOf(facts: readonly Fact[], subjects: readonly Subject[], marks: Marks): string[] {
  const messages = new Set<string>();
  for (const text of texts(facts, subjects, marks)) {
    if (messages.size === mostMessages) return [...messages, "and more"];
    messages.add(lineOf(text, longestMessage) ?? "");
  }
  return [...messages];
}

function* texts(facts: readonly Fact[], subjects: readonly Subject[], marks: Marks): Generator<string> {
  for (const breaking of [true, false]) {
    for (const fact of facts) if (fact.breaking === breaking) yield fact.text;
    yield* differing(subjects, breaking ? marks.breaking : marks.any, breaking);
  }
}

/** Goes through the marked pairs, the nearest first, each once. */
function* differing(
  subjects: readonly Subject[],
  marked: ReadonlySet<Pair>,
  breaking: boolean,
): Generator<string> {
  const seen = new Set<Pair>();
  const waiting = subjects.map(({ subject, pair }) => ({ subject, path: "", pair }));
  for (let i = 0; i < waiting.length && i < mostSteps; i++) {
    const at = waiting[i];
    if (at === undefined || seen.has(at.pair) || !marked.has(at.pair)) continue;
    seen.add(at.pair);
    for (const difference of at.pair.differences) {
      if (difference.breaking !== breaking) continue;
      yield `${named(at.subject, below(at.path, difference.step))} ${difference.text}`;
    }
    for (const { step, pair } of at.pair.within) {
      if (marked.has(pair) && !seen.has(pair) && waiting.length < mostSteps) {
        waiting.push({ subject: at.subject, path: below(at.path, step), pair });
      }
    }
  }
}

function below(path: string, step: string): string {
  if (path.length > 200) return path;
  return step === "" || path === "" || /^[[(]/.test(step) ? path + step : `${path}.${step}`;
}

function named(subject: string, path: string): string {
  return path === "" ? subject : `member ${JSON.stringify(path)} of ${subject}`;
}
