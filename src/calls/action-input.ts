import { toJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { isObject } from "#src/json/object.ts";
import type { OperationContract } from "#src/operations/operation.ts";
import { pathProblem } from "#src/outbound/path.ts";
import type { InputCheck } from "./checks/checks.ts";
import type { JsonInput } from "./checks/question.ts";
import { InvalidInput } from "./errors.ts";
import type { FoundAction } from "./find-action.ts";
import { escaped, nameProblems, problem, type InputProblem } from "./input-problems.ts";
import { headerText, pathText, queryPairs, type EncodedPair } from "./parameters.ts";
import { percentEncoded } from "./percent.ts";
import { NoForm, type ParameterForm } from "./styles.ts";

/** What an operation is called with. */
export interface ActionInput {
  readonly path: JsonObject;
  readonly query: JsonObject;
  readonly header: JsonObject;
  readonly body: Value | undefined;
}

/** An operation that is to be called. */
export interface Action extends Pick<FoundAction, "method" | "template"> {
  /** What its service says of it; undefined where nothing is known, and nothing can be checked. */
  readonly contract: OperationContract | undefined;
}

/** An operation, and which import describes it; 0 for what comes with Patchbay. */
export interface DescribedAction extends Action, FoundAction {
  readonly revision: number;
}

/** Where the input goes in the request. */
export interface FilledAction {
  readonly path: string;
  readonly query: readonly EncodedPair[];
  readonly headers: Readonly<Record<string, string>>;
}

/** The operation's path, query and headers with the input in them. Throws InvalidInput for one that does not fit. */
export async function fillAction(
  action: Action,
  given: ActionInput,
  check: InputCheck,
): Promise<FilledAction> {
  const { path, query, header, body } = given;
  for (const [name, values] of Object.entries({ path, query, header })) {
    requireFew<JsonValue>(`/${name}`, values, insideJson);
    requireShort(`/${name}`, values);
  }
  if (body !== undefined && action.contract !== undefined) requireFew("/body", body, insideValue);
  const input = { ...given, header: withDeclaredNames(given.header, action) };
  const unfit = action.contract === undefined ? [] : await check(action.contract, jsonOf(input));
  refuse([...twiceProblems(given.header), ...namesProblems(action, input.path), ...unfit]);
  return {
    path: filledTemplate(action, input.path),
    query: Object.entries(input.query).flatMap(([name, value]) =>
      written("query", name, () => queryPairs(formOf(action, "query", name), value)),
    ),
    headers: Object.fromEntries(
      Object.entries(input.header).map(([name, value]) => [
        name,
        written("header", name, () => headerText(formOf(action, "header", name), value)),
      ]),
    ),
  };
}

function jsonOf({ body, ...places }: ActionInput): JsonInput {
  return { ...places, ...(body !== undefined && { body: toJson(ValueSchema, body) }) };
}

/** What is left of the template between its variables, which have the odd places. */
function partsOf(template: string): string[] {
  return template.split(/\{([^{}]*)\}/);
}

function namesProblems({ template }: Action, path: JsonObject): InputProblem[] {
  const names = partsOf(template).filter((_, index) => index % 2 === 1);
  const { missing, unknown } = nameProblems(
    "/path",
    names.map((name) => ({ name, required: true })),
    path,
  );
  return [...missing, ...unknown];
}

function filledTemplate(action: Action, path: JsonObject): string {
  const filled = partsOf(action.template)
    .map((part, index) => (index % 2 === 0 ? literalOf(part) : segmentOf(action, part, path[part] ?? null)))
    .join("");
  // What two values make together, or one and what is beside it.
  const reason = pathProblem(filled);
  if (reason !== undefined) refuse([problem("/path", reason)]);
  return filled;
}

/** Some documents have characters in a path that a URL has only encoded. What would end the path is refused. */
function literalOf(text: string): string {
  return text.replace(/[^\w\-.~!$&'()*+,;=:@/%?#]+/g, (characters) => percentEncoded(characters));
}

/** Exactly one segment, or a part of one: it is encoded, and nothing that could be read as another path. */
function segmentOf(action: Action, name: string, value: JsonValue): string {
  const text = written("path", name, () =>
    pathText(formOf(action, "path", name), value, action.contract?.table ?? "3.1"),
  );
  const reason = text === "" ? "is empty, and a segment of a path is not" : pathProblem(`/${text}`);
  if (reason !== undefined) refuse([problem(`/path/${escaped(name)}`, reason)]);
  return text;
}

function formOf({ contract }: Action, place: string, name: string): ParameterForm {
  return (
    contract?.parameters.find((parameter) => parameter.in === place && parameter.name === name) ?? { name }
  );
}

function written<T>(place: string, name: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (error instanceof NoForm)
      throw new InvalidInput([problem(`/${place}/${escaped(name)}`, error.message)]);
    throw error;
  }
}

/** Names of headers are the same in any case, and a schema's names are not. */
function withDeclaredNames(header: JsonObject, { contract }: Action): JsonObject {
  const declared = new Map(
    (contract?.parameters ?? [])
      .filter((one) => one.in === "header")
      .map(({ name }) => [name.toLowerCase(), name]),
  );
  return Object.fromEntries(
    Object.entries(header).map(([name, value]) => [declared.get(name.toLowerCase()) ?? name, value]),
  );
}

/** Each as another name, and yet the same header. */
function twiceProblems(header: JsonObject): InputProblem[] {
  const names = new Set<string>();
  return Object.keys(header).flatMap((name) => {
    const isTwice = names.has(name.toLowerCase());
    names.add(name.toLowerCase());
    return isTwice ? [problem(`/header/${escaped(name)}`, "is given twice, in different letter case")] : [];
  });
}

function refuse(problems: readonly InputProblem[]): void {
  if (problems.length > 0) throw new InvalidInput(problems);
}

/** What is larger would hold up other calls while it is checked. */
const maxValues = 5_000;
const maxDepth = 32;

function requireFew<Node>(place: string, root: Node, inside: (node: Node) => readonly Node[]): void {
  let level: readonly Node[] = [root];
  for (let depth = 0, values = 0; level.length > 0; depth += 1) {
    values += level.length;
    if (depth > maxDepth) refuse([problem(place, `is nested more than ${maxDepth} levels deep`)]);
    if (values > maxValues) {
      refuse([problem(place, `has more than ${maxValues} values; POST /api/service-calls takes more`)]);
    }
    level = level.flatMap(inside);
  }
}

/** What is longer reaches no server in a URL or in headers, and writing it would hold up other calls. */
const maxCharacters = 64 * 1024;

function requireShort(place: string, values: JsonObject): void {
  if (charactersIn(values) <= maxCharacters) return;
  refuse([problem(place, `has more than ${maxCharacters} characters`)]);
}

function charactersIn(json: JsonValue): number {
  if (typeof json === "string") return json.length;
  const names = isObject(json) ? Object.keys(json) : [];
  return [...names, ...insideJson(json)].reduce<number>((sum, one) => sum + charactersIn(one), 0);
}

function insideJson(json: JsonValue): readonly JsonValue[] {
  if (Array.isArray(json)) return json;
  return isObject(json) ? Object.values(json) : [];
}

function insideValue({ kind }: Value): readonly Value[] {
  if (kind.case === "listValue") return kind.value.values;
  return kind.case === "structValue" ? Object.values(kind.value.fields) : [];
}
