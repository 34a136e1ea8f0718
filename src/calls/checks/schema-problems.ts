import type { JsonValue } from "@bufbuild/protobuf";
import type { ErrorObject } from "ajv/dist/2020.js";
import {
  maxProblems,
  missingProblem,
  nearestOf,
  problem,
  unescaped,
  unknownProblem,
  type InputProblem,
} from "../input-problems.ts";

/** What the errors are in words; the pointer is that of the value. */
export function problemsOf(pointer: string, errors: readonly ErrorObject[]): InputProblem[] {
  return telling(errors).map((error) => inWords(pointer, error));
}

/** The first error in words that hold nothing but what the schema has: other names are `*`. */
export function describedProblems(
  errors: readonly ErrorObject[],
  isDescribed: (name: string) => boolean,
): InputProblem[] {
  return telling(errors)
    .slice(0, 1)
    .map(({ instancePath, keyword, params, message }) => {
      const names = instancePath.split("/").slice(1);
      const described = names.map((name) => (isDescribed(unescaped(name)) ? name : "*"));
      const pointer = described.map((name) => `/${name}`).join("");
      switch (keyword) {
        case "required":
          return problem(pointer, `lacks ${String(params["missingProperty"])}`);
        case "additionalProperties":
        case "unevaluatedProperties":
          return problem(pointer, "has a member that is not described");
        default:
          return problem(pointer, message ?? "does not fit");
      }
    });
}

/** Those that say what is wrong. */
function telling(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  // More than are shown: the rest would only take time.
  const first = errors.slice(0, maxRead);
  return first.filter((error) => !isOfNullable(error, first)).slice(0, 2 * maxProblems);
}

const maxRead = 500;

/**
 * That a value which may be null is not null either, and so fits none of its two schemas, says nothing beside what is
 * wrong with it by the other one.
 */
function isOfNullable(error: ErrorObject, errors: readonly ErrorObject[]): boolean {
  const { keyword, schema, instancePath } = error;
  if (keyword === "type") {
    return (
      schema === "null" && errors.some((one) => isChoiceWithNull(one) && one.instancePath === instancePath)
    );
  }
  return isChoiceWithNull(error) && Array.isArray(schema) && schema.length === 2;
}

function isChoiceWithNull({ keyword, schema, data }: ErrorObject): boolean {
  const isChoice = (keyword === "anyOf" || keyword === "oneOf") && Array.isArray(schema);
  return isChoice && data !== null && (schema as { type?: unknown }[]).some(({ type }) => type === "null");
}

function inWords(place: string, error: ErrorObject): InputProblem {
  const { keyword, params, parentSchema, data, schema } = error;
  const pointer = place + error.instancePath;
  const known = Object.keys((parentSchema?.["properties"] ?? {}) as object);
  switch (keyword) {
    case "required": {
      const given = Object.keys(data as object).filter((name) => !known.includes(name));
      return missingProblem(pointer, String(params["missingProperty"]), given);
    }
    case "additionalProperties":
      return unknownProblem(pointer, String(params["additionalProperty"]), known);
    case "unevaluatedProperties":
      return unknownProblem(pointer, String(params["unevaluatedProperty"]), known);
    case "enum":
      return enumProblem(pointer, schema as readonly JsonValue[], data as JsonValue);
    default:
      return problem(pointer, error.message ?? "does not fit");
  }
}

const maxListed = 10;

function enumProblem(pointer: string, allowed: readonly JsonValue[], value: JsonValue): InputProblem {
  const listed = allowed.slice(0, maxListed).map((one) => JSON.stringify(one));
  const others = allowed.length > maxListed ? ` and ${allowed.length - maxListed} others` : "";
  const names = allowed.filter((one) => typeof one === "string");
  const near = typeof value === "string" ? nearestOf(value, names) : undefined;
  return problem(pointer, `must be one of ${listed.join(", ")}${others}`, near);
}
