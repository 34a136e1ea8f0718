import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { OperationContract } from "#src/operations/operation.ts";
import { escaped, nameProblems, problem, type InputProblem } from "../input-problems.ts";
import { compileSchema, type CompiledSchema } from "./compiled-schema.ts";
import type { Checked, JsonInput, Place, Question } from "./question.ts";
import { describedProblems, problemsOf } from "./schema-problems.ts";

/** Holds what is asked about to the contract of an operation. */
export type ContractCheck = (question: Question) => Checked;

/** A part of a contract that a value is held to. */
type Part = JsonObject | string;

/** Compiling takes milliseconds, and so is done when a schema is first needed, and kept for the next call. */
export function createContractCheck(contract: OperationContract): ContractCheck {
  const compiled = new Map<Part, CompiledSchema | Error>();
  let definitions: JsonObject | undefined;

  function standingByItself(part: Part): JsonObject {
    definitions ??= Object.fromEntries(
      [...contract.definitions].map(([name, text]) => [name, JSON.parse(text) as JsonValue]),
    );
    const schema = typeof part === "string" ? (JSON.parse(part) as JsonObject) : part;
    return { ...schema, $defs: { ...definitions, ...(schema["$defs"] as JsonObject | undefined) } };
  }

  function compiledOf(part: Part): CompiledSchema | Error {
    const known = compiled.get(part);
    if (known !== undefined) return known;
    const made = orError(() => compileSchema(standingByItself(part)));
    compiled.set(part, made);
    return made;
  }

  /** What it cannot say is left open: a document's schemas are not all such as can be used. */
  function check(pointer: string, part: Part, value: JsonValue, inWords = problemsOf): Checked {
    const validate = compiledOf(part);
    const errors = validate instanceof Error ? validate : orError(() => validate(value));
    if (!(errors instanceof Error)) return { problems: inWords(pointer, errors) };
    return {
      problems: [],
      notChecked: `${pointer}: its schema cannot be used: ${errors.message.slice(0, 200)}`,
    };
  }

  function placed(place: Place, values: JsonObject): Checked[] {
    const here = contract.parameters.filter((parameter) => parameter.in === place);
    const { missing, unknown } = nameProblems(`/${place}`, here, values);
    // The service would silently ignore a misspelt parameter. Headers have meanings that no operation describes, and
    // a path has the names of its template.
    const named = { path: [], query: [...missing, ...unknown], header: missing }[place];
    return [
      { problems: named },
      ...here.flatMap(({ name, schema }) => {
        const value = Object.hasOwn(values, name) ? values[name] : undefined;
        return value === undefined ? [] : [check(`/${place}/${escaped(name)}`, schema, value)];
      }),
    ];
  }

  function ofBody(body: JsonValue | undefined): Checked {
    const { inputSchema, body: form } = contract;
    if (body === undefined)
      return { problems: form?.required === true ? [problem("/body", "is missing")] : [] };
    if (form === undefined) {
      return {
        problems: [problem("/body", "is given, and the catalog describes no body of this operation")],
      };
    }
    return inputSchema === undefined ? { problems: [] } : check("/body", inputSchema, body);
  }

  function ofInput(input: JsonInput): Checked {
    const places = ["path", "query", "header"] as const;
    return joined([...places.flatMap((place) => placed(place, input[place])), ofBody(input.body)]);
  }

  function ofOutput(body: Uint8Array): Checked {
    const { outputSchema } = contract;
    if (outputSchema === undefined) return { problems: [] };
    const value = orError(() => JSON.parse(Buffer.from(body).toString()) as JsonValue);
    if (value instanceof Error) return { problems: [problem("", "is not JSON")] };
    const texts = [outputSchema, ...contract.definitions.values()];
    const isDescribed = (name: string) => texts.some((text) => text.includes(JSON.stringify(name)));
    return check("", outputSchema, value, (_, errors) => describedProblems(errors, isDescribed));
  }

  return (question) => ("input" in question ? ofInput(question.input) : ofOutput(question.output));
}

function joined(parts: readonly Checked[]): Checked {
  const problems: InputProblem[] = parts.flatMap((part) => part.problems);
  return { problems, notChecked: parts.find((part) => part.notChecked !== undefined)?.notChecked };
}

/** A schema that is none, that lacks what it refers to, or that is nested beyond the stack. */
function orError<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
