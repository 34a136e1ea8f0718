import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isDeepStrictEqual } from "node:util";
import type { BodyForm, Operation, Parameter } from "../operation.ts";
import type { Direction } from "./keywords.ts";

/** What is compared of an operation. */
export type Compared = Omit<Operation, "path" | "method">;

/** A difference of an operation, for people. */
export interface Fact {
  readonly text: string;
  readonly breaking: boolean;
}

/** Two schemas of the operations, and what they are of: `the body`. */
export interface Root {
  readonly subject: string;
  readonly before: JsonValue;
  readonly after: JsonValue;
  readonly direction: Direction;
}

/** How two descriptions of an operation differ, without what is in their schemas. */
export interface OperationFacts {
  readonly facts: readonly Fact[];
  readonly roots: readonly Root[];
}

/** Compares all of an operation but its schemas, and says which of those belong together. */
export function factsOf(before: Compared, after: Compared): OperationFacts {
  const parameters = parameterFacts(before.parameters, after.parameters);
  return {
    facts: [
      ...identity(before, after),
      ...scopes(before.scopes, after.scopes),
      ...parameters.facts,
      ...bodyFacts(before.body, after.body),
      ...answerFacts(before.outputSchema, after.outputSchema),
    ],
    roots: [
      ...parameters.roots,
      ...rootOf(
        "the body",
        before.body && (before.inputSchema ?? true),
        after.body && (after.inputSchema ?? true),
        "input",
      ),
      ...rootOf("the answer", before.outputSchema, after.outputSchema, "output"),
    ],
  };
}

function identity(before: Compared, after: Compared): Fact[] {
  const { operationId: was } = before;
  const { operationId: is } = after;
  const facts: Fact[] = [];
  // It can always be called by method and path, too.
  if (was !== is) {
    const now = is === undefined ? "it has no operationId any more" : `its operationId is ${shown(is)} now`;
    facts.push({
      text: was === undefined ? now : `${now}, and was ${shown(was)}`,
      breaking: was !== undefined,
    });
  }
  if (before.name !== after.name)
    facts.push({ text: `its name is ${shown(after.name)} now`, breaking: false });
  if (before.description !== after.description)
    facts.push({ text: "its description is another now", breaking: false });
  if (before.deprecated !== after.deprecated) {
    facts.push({
      text: after.deprecated ? "it is deprecated now" : "it is no longer deprecated",
      breaking: false,
    });
  }
  return facts;
}

function scopes(before: readonly string[], after: readonly string[]): Fact[] {
  const [was, is] = [new Set(before), new Set(after)];
  return [
    ...[...is]
      .filter((scope) => !was.has(scope))
      .map((scope) => ({ text: `it needs the scope ${shown(scope)} now`, breaking: true })),
    ...[...was]
      .filter((scope) => !is.has(scope))
      .map((scope) => ({ text: `it no longer needs the scope ${shown(scope)}`, breaking: false })),
  ];
}

function parameterFacts(before: readonly Parameter[], after: readonly Parameter[]): OperationFacts {
  const was = new Map(before.map((parameter) => [nameOf(parameter), parameter]));
  const is = new Map(after.map((parameter) => [nameOf(parameter), parameter]));
  const facts: Fact[] = [];
  const roots: Root[] = [];
  for (const subject of was.keys())
    if (!is.has(subject)) facts.push({ text: `${subject} is gone`, breaking: true });
  for (const [subject, parameter] of is) {
    const known = was.get(subject);
    if (known === undefined) {
      facts.push({
        text: `${subject} is new${parameter.required ? " and required" : ""}`,
        breaking: parameter.required,
      });
      continue;
    }
    facts.push(...requiredFacts(subject, known.required, parameter.required));
    if (!isDeepStrictEqual(formOf(known), formOf(parameter))) facts.push(writtenOtherwise(subject));
    roots.push(...rootOf(subject, known.schema, parameter.schema, "input"));
  }
  return { facts, roots };
}

/** Names of headers are the same in any case. */
function nameOf({ in: place, name }: Parameter): string {
  return `${place} parameter ${shown(place === "header" ? name.toLowerCase() : name)}`;
}

/** What is not said is what the place has as usual, and saying that changes nothing. */
function formOf({ in: place, style = place === "query" ? "form" : "simple", explode, ...rest }: Parameter) {
  const { allowReserved = false, isJson = false } = rest;
  return isJson ? { isJson } : { style, explode: explode ?? style === "form", allowReserved };
}

function bodyFacts(before: BodyForm | undefined, after: BodyForm | undefined): Fact[] {
  if (before === undefined && after === undefined) return [];
  if (after === undefined) return [{ text: "it takes no body any more", breaking: true }];
  if (before === undefined) {
    return [
      { text: `it takes a body now${after.required ? ", which is required" : ""}`, breaking: after.required },
    ];
  }
  const facts = requiredFacts("the body", before.required, after.required);
  if (before.contentType !== after.contentType) {
    facts.push({
      text: `the body is ${shown(after.contentType)} now, and was ${shown(before.contentType)}`,
      breaking: true,
    });
  } else if (!isDeepStrictEqual(before.encoding ?? {}, after.encoding ?? {}))
    facts.push(writtenOtherwise("the body"));
  return facts;
}

function answerFacts(before: JsonObject | undefined, after: JsonObject | undefined): Fact[] {
  if (before !== undefined && after === undefined)
    return [{ text: "the answer is not described any more", breaking: true }];
  if (before === undefined && after !== undefined)
    return [{ text: "the answer is described now", breaking: false }];
  return [];
}

function requiredFacts(subject: string, before: boolean, after: boolean): Fact[] {
  if (before === after) return [];
  return [{ text: `${subject} is ${after ? "required" : "optional"} now`, breaking: after }];
}

/** Calls that are made by action follow by themselves; a caller that writes requests by hand has to. */
function writtenOtherwise(subject: string): Fact {
  return { text: `${subject} is written in another way now`, breaking: true };
}

function rootOf(
  subject: string,
  before: JsonValue | undefined,
  after: JsonValue | undefined,
  direction: Direction,
): Root[] {
  return before === undefined || after === undefined ? [] : [{ subject, before, after, direction }];
}

function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
