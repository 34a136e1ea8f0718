import { createHash } from "node:crypto";
import type { Operation } from "./operation.ts";

/** What search looks into. */
export type Searched = Pick<Operation, "method" | "path" | "name" | "operationId" | "description" | "scopes">;

/** What is looked for. What is empty, or absent, is not asked for. */
export interface Sought {
  readonly text?: string;
  readonly method?: string;
  readonly scope?: string;
}

/** Of an operation; those of a long description are cut off. */
const maxWords = 300;
/** Postgres refuses a lexeme of 2 kB, and a longer word is an example's token. */
const maxWordLength = 40;
const maxScopeLength = 256;

/**
 * The column `search` of an operation, as Postgres reads a `tsvector`: its words, where a name weighs more than a path,
 * and a path more than a description; its method and scopes. Each begins with the mark of its organisation, so that the
 * index is never walked through words of others.
 */
export function searchVector(orgId: string, operation: Searched): string {
  const { method, scopes } = operation;
  const mark = markOf(orgId);
  const words = [...weightedWords(operation)].slice(0, maxWords);
  const lexemes = words.map(([word, weight], i) => `${quoted(mark + word)}:${i + 1}${weight}`);
  const filters = [methodLexeme(method), ...scopes.map(scopeLexeme)].map((one) => quoted(mark + one));
  return [...lexemes, ...new Set(filters)].join(" ");
}

/**
 * What is looked for, as Postgres reads a `tsquery`: all of it, where a word finds those that begin as it does. Empty if
 * nothing is.
 */
export function searchQuery(orgId: string, { text = "", method = "", scope = "" }: Sought): string {
  const mark = markOf(orgId);
  return [
    ...soughtWords(text).map((word) => `${quoted(mark + stemOf(word))}:*`),
    ...(method === "" ? [] : [quoted(mark + methodLexeme(method))]),
    ...(scope === "" ? [] : [quoted(mark + scopeLexeme(scope))]),
  ].join(" & ");
}

/** The words that are looked for, as Postgres reads a `tsquery`: what has any of them as it is spelled, ranks higher. */
export function spelledQuery(orgId: string, text: string): string {
  return soughtWords(text)
    .map((word) => quoted(markOf(orgId) + word))
    .join(" | ");
}

/** Each once: for each, Postgres looks at all that begin so. */
function soughtWords(text: string): string[] {
  return [...new Set(wordsOf(text))];
}

/** Each word with the weight of the first place that it is found in. */
function weightedWords({ operationId = "", name, path, method, description = "" }: Searched) {
  const weighted = new Map<string, "A" | "B" | "C" | "D">();
  const add = (words: readonly string[], weight: "A" | "B" | "C" | "D") => {
    for (const word of words) if (!weighted.has(word)) weighted.set(word, weight);
  };
  add([...wordsOf(name), ...wordsOf(operationId), ...joined(operationId)], "A");
  add(wordsOf(path), "B");
  add(wordsOf(method), "C");
  // A long description is not split further than there is room for its words.
  add(wordsOf(description.slice(0, 100 * maxWordLength)), "D");
  return weighted;
}

/** In lower case; what is written in camel case is several. */
function wordsOf(text: string): string[] {
  const spaced = text
    .normalize("NFKC")
    .replace(/(?<=[\p{Ll}\p{N}])(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})/gu, " ");
  return [...spaced.matchAll(/[\p{L}\p{M}\p{N}]+/gu)].map(([word]) => cut(word.toLowerCase(), maxWordLength));
}

/** An id as it may be remembered: without what separates its words. */
function joined(operationId: string): string[] {
  const words = wordsOf(operationId);
  return words.length > 1 ? [cut(words.join(""), maxWordLength)] : [];
}

/** What the forms of a word begin with: `polic` of policy and policies. Always a beginning of the word itself. */
function stemOf(word: string): string {
  const one = word.replace(/(?<=.{3})(?<=ch|sh|ss|x)es$|(?<=.{3})(?<![isu])s$/u, "");
  return one.replace(/(?<=.{3})(?:ie|ied|y)$|(?<=.{4})(?:ion|ing|ed|e)$/u, "");
}

function methodLexeme(method: string): string {
  return `=${method.toUpperCase()}`;
}

function scopeLexeme(scope: string): string {
  return `@${cut(scope, maxScopeLength)}`;
}

/** If two organisations have one mark, a search walks over words of both, and still answers none of the other's. */
function markOf(orgId: string): string {
  return createHash("sha256").update(orgId).digest("hex").slice(0, 8);
}

/** Without half of a surrogate pair. */
function cut(text: string, length: number): string {
  return text.length <= length
    ? text
    : text
        .slice(0, length)
        .toWellFormed()
        .replace(/\uFFFD$/, "");
}

function quoted(lexeme: string): string {
  return `'${lexeme.replace(/['\\]/g, "$&$&")}'`;
}
