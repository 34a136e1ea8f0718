import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Ajv2020, str, type ErrorObject } from "ajv/dist/2020.js";
import { isObject } from "#src/json/object.ts";
import { Pattern } from "./pattern.ts";

/** Why a value does not fit its schema; none if it does. */
export type CompiledSchema = (value: JsonValue) => readonly ErrorObject[];

/** With an instance for each schema: one for all would keep them all, and mix up those of the same `$id`. */
export function compileSchema(schema: JsonObject): CompiledSchema {
  const ajv = new Ajv2020({
    strict: false,
    allErrors: true,
    verbose: true,
    meta: false,
    validateSchema: false,
    // What 2020-12 says of formats: they describe, and do not restrict.
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
  ajv.removeKeyword("multipleOf");
  ajv.addKeyword({
    keyword: "multipleOf",
    type: "number",
    error: { message: ({ schemaCode }) => str`must be multiple of ${schemaCode}` },
    validate: isMultiple,
  });
  const validate = ajv.compile(schema);
  return (value) => (validate(value) ? [] : (validate.errors ?? []));
}

/** As decimals: 4.35 is 435 times 0.01, though not in the arithmetic of doubles. */
function isMultiple(divisor: number, value: number): boolean {
  if (Number.isInteger(divisor) && Number.isInteger(value)) return value % divisor === 0;
  const times = value / divisor;
  return Math.abs(Math.round(times) - times) <= 2 * Number.EPSILON * Math.abs(times);
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
