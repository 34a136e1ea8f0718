import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import { LRUCache } from "lru-cache";
import { RE2JS } from "re2js";
import type { OperationContract } from "#src/operations/operation.ts";
import { isObject } from "#src/json/object.ts";
import { maxProblems } from "./errors.ts";
import { escaped, missingProblem, nameProblems, problem, unknownProblem } from "./input-problems.ts";

/** What an operation is called with, as far as it is JSON. */
export type JsonInput = Readonly<Record<Place, JsonObject>> & { readonly body?: JsonValue };

type Place = "path" | "query" | "header";

/** Why the input does not fit its operation, each problem beginning with a JSON pointer; none if it does. */
export type InputCheck = (contract: OperationContract, input: JsonInput) => string[];

/** Compiling takes milliseconds, and so is done when a schema is first needed, and kept for the next call. */
const maxCompiled = 500;

/** Checks inputs against what the catalog says of operations. Schemas that are known at the start hold up no call. */
export function createInputCheck(): InputCheck {
  const compiled = new LRUCache<JsonObject, ValidateFunction>({ max: maxCompiled });

  function validatorOf(schema: JsonObject): ValidateFunction {
    const validate = compiled.get(schema) ?? compile(schema);
    compiled.set(schema, validate);
    return validate;
  }

  function valueProblems(pointer: string, schema: JsonObject, value: JsonValue): string[] {
    const validate = validatorOf(schema);
    return validate(value) ? [] : firstOf(validate.errors ?? []).map((error) => inWords(pointer, error));
  }

  function placeProblems({ parameters }: OperationContract, place: Place, values: JsonObject): string[] {
    const here = parameters.filter((parameter) => parameter.in === place);
    const { missing, unknown } = nameProblems(`/${place}`, here, values);
    const unfit = here.flatMap(({ name, schema }) => {
      const value = Object.hasOwn(values, name) ? values[name] : undefined;
      return value === undefined ? [] : valueProblems(`/${place}/${escaped(name)}`, schema, value);
    });
    // The service would silently ignore a misspelt parameter. Headers have meanings that no operation describes, and
    // a path has the names of its template.
    return [...missing, ...(place === "query" ? unknown : []), ...unfit];
  }

  function bodyProblems(
    { inputSchema, body: form }: OperationContract,
    body: JsonValue | undefined,
  ): string[] {
    if (inputSchema !== undefined) {
      if (body !== undefined) return valueProblems("/body", JSON.parse(inputSchema) as JsonObject, body);
      return form?.required === true ? [problem("/body", "is missing")] : [];
    }
    if (body === undefined) return [];
    return [problem("/body", "is given, and the catalog describes no JSON body of this operation")];
  }

  return (contract, input) => [
    ...(["path", "query", "header"] as const).flatMap((place) =>
      placeProblems(contract, place, input[place]),
    ),
    ...bodyProblems(contract, input.body),
  ];
}

/** More than are shown: the rest would only take time. */
function firstOf(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  return errors.slice(0, 2 * maxProblems);
}

/** With an instance for each schema: one for all would keep them all, and mix up those of the same `$id`. */
function compile(schema: JsonObject): ValidateFunction {
  const ajv = new Ajv2020({
    strict: false,
    allErrors: true,
    verbose: true,
    meta: false,
    validateSchema: false,
    validateFormats: false,
    logger: false,
    code: { regExp: Object.assign((pattern: string) => new Pattern(pattern), { code: "Pattern" }) },
  });
  ajv.removeKeyword("uniqueItems");
  ajv.addKeyword({
    keyword: "uniqueItems",
    type: "array",
    error: { message: "must NOT have duplicate items" },
    validate: (isAsked: boolean, items: readonly JsonValue[]) => !isAsked || areUnique(items),
  });
  return ajv.compile(schema);
}

/** Ajv compares each item with each other, which takes minutes for a list of a few thousand objects. */
function areUnique(items: readonly JsonValue[]): boolean {
  return new Set(items.map(canonical)).size === items.length;
}

function canonical(value: JsonValue): string {
  return JSON.stringify(value, (_, member: JsonValue) =>
    isObject(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

/** A match takes a tenth of a microsecond for each character. */
const maxMatched = 64 * 1024;

/**
 * A pattern of a schema. In RE2, because a few characters can hold a backtracking engine for hours. One that RE2 has no
 * form for, with look-around, is left to the service.
 */
class Pattern {
  readonly #source: string;
  readonly #compiled: RE2JS | undefined;

  constructor(source: string) {
    this.#source = source;
    try {
      this.#compiled = RE2JS.compile(RE2JS.translateRegExp(source));
    } catch {
      this.#compiled = undefined;
    }
  }

  test(text: string): boolean {
    return this.#compiled === undefined || (text.length <= maxMatched && this.#compiled.test(text));
  }

  /** By it, Ajv tells patterns apart: without it, each would be taken for the first one. */
  toString(): string {
    return this.#source;
  }
}

function inWords(place: string, error: ErrorObject): string {
  const { keyword, params, parentSchema, data } = error;
  const pointer = place + error.instancePath;
  const known = Object.keys((parentSchema?.["properties"] ?? {}) as object);
  if (keyword === "required") {
    const given = Object.keys(data as object).filter((name) => !known.includes(name));
    return missingProblem(pointer, String(params["missingProperty"]), given);
  }
  if (keyword === "additionalProperties") {
    return unknownProblem(pointer, String(params["additionalProperty"]), known);
  }
  return problem(pointer, error.message ?? "does not fit");
}
