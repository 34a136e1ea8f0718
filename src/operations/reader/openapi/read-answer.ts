import type { JsonObject } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import { canonicalJson } from "../canonical-json.ts";
import { followed, type DocumentReading } from "./document-reading.ts";
import { isJson, preferred } from "./media-types.ts";
import { noNeeds, type Needs } from "../needs.ts";
import { swaggerAnswersJson } from "./read-swagger.ts";
import { at, type Place } from "../schemas/references.ts";

/** The JSON of an answer, and what its schema refers to. */
export interface ReadAnswer {
  readonly schema: JsonObject | undefined;
  readonly needs: Needs;
}

/** The JSON that answers success: any of those that the operation lists. */
export function readAnswer(operation: Place, reading: DocumentReading): ReadAnswer {
  const responses = at(operation, "responses");
  if (reading.swagger !== undefined && !swaggerAnswersJson(operation, reading)) {
    return { schema: undefined, needs: noNeeds() };
  }
  const needs = noNeeds();
  const schemas = new Map<string, JsonObject>();
  for (const status of successes(Object.keys(membersOf(responses.value)))) {
    const schema = readResponse(at(responses, status), needs, reading);
    if (schema !== undefined) schemas.set(canonicalJson(schema), schema);
  }
  const [only, ...others] = schemas.values();
  return { schema: others.length === 0 ? only : { anyOf: [...schemas.values()] }, needs };
}

/** What else a service may answer says `default`, which is an error wherever success is listed. */
function successes(statuses: readonly string[]): string[] {
  const listed = statuses.filter((status) => /^2(?:\d\d|XX)$/i.test(status)).sort();
  return listed.length > 0 ? listed : statuses.filter((status) => status === "default");
}

function readResponse(given: Place, needs: Needs, reading: DocumentReading): JsonObject | undefined {
  const response = followed(given, reading);
  if (reading.swagger !== undefined) return response && swaggerSchema(at(response, "schema"), needs, reading);
  const content = response && at(response, "content");
  if (content === undefined || !isObject(content.value)) return undefined;
  const type = preferred(Object.keys(content.value).filter(isJson));
  const media = type === undefined ? undefined : followed(at(content, type), reading);
  const schema = media && at(media, "schema");
  if (schema?.value === undefined || type === undefined) return undefined;
  const isFile = membersOf(schema.value)["format"] === "binary";
  return isFile ? undefined : reading.definitions.read(schema, needs);
}

function swaggerSchema(
  schema: Place,
  needs: Needs,
  { definitions }: DocumentReading,
): JsonObject | undefined {
  const isNone = schema.value === undefined || membersOf(schema.value)["type"] === "file";
  return isNone ? undefined : definitions.read(schema, needs);
}
