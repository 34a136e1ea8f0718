import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { compile } from "json-schema-to-typescript";
import { membersOf } from "#src/json/object.ts";
import { mapSchemas, typableWith, type Typable } from "./typable-schema.ts";

/** What is known of an operation. Its schemas are whole in themselves, as the catalog answers them. */
export interface TypedOperation {
  readonly actionIdentifier: string;
  readonly name: string;
  readonly deprecated: boolean;
  /** Absent without a body. */
  readonly contentType?: string | undefined;
  readonly bodyRequired: boolean;
  readonly inputSchema?: JsonObject | undefined;
  readonly outputSchema?: JsonObject | undefined;
  readonly parametersSchema?: JsonObject | undefined;
}

/**
 * TypeScript types of a service's operations: `Operations` has a member for each action identifier, with what CallAction
 * takes as `input`, and the JSON that answers success as `output`.
 */
export async function operationTypes(operations: readonly TypedOperation[]): Promise<string> {
  const definitions = definitionsOf(operations);
  const typable = typableWith(definitions);
  const root = {
    ...objectOf(operations.map((one) => [one.actionIdentifier, schemaOf(one, typable)])),
    $defs: mapSchemas(definitions, typable),
  };
  const code = await compile(root, "Operations", {
    additionalProperties: false,
    bannerComment: "",
    // A list of one to ten would become ten tuples.
    ignoreMinAndMaxItems: true,
    // With it, the package would hold more code for this command than for all others together.
    format: false,
  });
  return formatted(code);
}

/** The definitions of all of them, which are the same in each that has them. */
function definitionsOf(operations: readonly TypedOperation[]): JsonObject {
  const schemas = operations.flatMap((one) => [one.inputSchema, one.outputSchema, one.parametersSchema]);
  return Object.fromEntries(schemas.flatMap((schema) => Object.entries(schema?.["$defs"] ?? {})));
}

function schemaOf(one: TypedOperation, typable: Typable): JsonObject {
  const { parametersSchema = {}, contentType, inputSchema = {}, outputSchema } = one;
  const { properties, required } = parametersSchema;
  const input = {
    ...membersOf(properties),
    // Also where nothing is known of it, or too much.
    ...(contentType !== undefined && { body: inputSchema }),
  };
  const needed = [...(Array.isArray(required) ? required : []), ...(one.bodyRequired ? ["body"] : [])];
  return {
    description: one.name,
    deprecated: one.deprecated,
    ...objectOf([
      ["input", { ...objectOf(Object.entries(mapSchemas(input, typable))), required: needed }],
      ["output", outputSchema === undefined ? {} : typable(outputSchema)],
    ]),
  };
}

/** An object that has all of these. */
function objectOf(members: readonly [string, JsonValue][]): JsonObject {
  return {
    type: "object",
    properties: Object.fromEntries(members),
    required: members.map(([name]) => name),
  };
}

/** Indented by its braces, which the library puts at the ends of lines, each member with a semicolon. */
function formatted(code: string): string {
  let depth = 0;
  const lines = code
    .trim()
    .replace(/^\/\*\*\n \* (.*)\n \*\/$/gm, "/** $1 */")
    .replace(/\{\n+\}/g, "{}")
    .split(/\n+/);
  const indented = lines.map((line) => {
    const isComment = /^(?:\/\*\*| \*)/.test(line);
    if (!isComment && line.startsWith("}")) depth -= 1;
    const isWhole = isComment || line.endsWith("{") || (depth === 0 && line === "}");
    const text = `${"  ".repeat(depth)}${line.trimEnd()}${isWhole ? "" : ";"}`;
    if (!isComment && line.endsWith("{")) depth += 1;
    return text;
  });
  return `${indented.join("\n")}\n`;
}
