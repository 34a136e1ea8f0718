import { membersOf } from "#src/json/object.ts";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { MemberForm, Parameter } from "#src/operations/operation.ts";
import { followed, type DocumentReading } from "./document-reading.ts";
import { isJson, preferred } from "./media-types.ts";
import { noNeeds, type Needs } from "../needs.ts";
import type { ReadBody } from "./read-body.ts";
import { at, within, type Place } from "../schemas/references.ts";

// In Swagger 2.0, parameters describe bodies as well, and are schemas themselves.

/** The schema of a parameter, and how it is written. */
export function swaggerForm(place: Place, where: Parameter["in"], needs: Needs, reading: DocumentReading) {
  return { schema: reading.definitions.read(schemaIn(place), needs), ...listForm(place, where, reading) };
}

/** The body that the parameters describe, those of the path first; undefined if none of them does. */
export function swaggerBody(
  operation: Place,
  from: readonly Place[],
  reading: DocumentReading,
): ReadBody | undefined {
  const given = from.flatMap((place) => within(at(place, "parameters")));
  const places = given.flatMap((place) => followed(place, reading) ?? []);
  const types = mediaTypes(operation, "consumes", reading);
  const body = places.findLast(({ value }) => membersOf(value)["in"] === "body");
  if (body !== undefined) {
    const { required, schema } = membersOf(body.value);
    const needs = noNeeds();
    return {
      contentType: preferred(types) ?? "application/json",
      required: required === true,
      schema: schema === undefined ? undefined : reading.definitions.read(at(body, "schema"), needs),
      encoding: undefined,
      needs,
    };
  }
  const ofForm = places.filter(({ value }) => membersOf(value)["in"] === "formData");
  // Those of the operation take the place of those of its path.
  const members = [...new Map(ofForm.map((place) => [membersOf(place.value)["name"], place])).values()];
  return members.length === 0 ? undefined : formBody(members, types, reading);
}

/** Whether the operation answers with JSON. */
export function swaggerAnswersJson(operation: Place, reading: DocumentReading): boolean {
  const types = mediaTypes(operation, "produces", reading);
  return types.length === 0 || types.some(isJson);
}

function formBody(members: readonly Place[], types: readonly string[], reading: DocumentReading): ReadBody {
  const needs = noNeeds();
  const properties: [string, JsonObject][] = [];
  const encoding: [string, JsonObject][] = [];
  const required: string[] = [];
  for (const member of members) {
    const { name, type, description, required: isRequired } = membersOf(member.value);
    if (typeof name !== "string") continue;
    const file = {
      type: "string",
      format: "binary",
      ...(typeof description === "string" && { description }),
    };
    properties.push([name, type === "file" ? file : reading.definitions.read(schemaIn(member), needs)]);
    encoding.push([name, { ...listForm(member, "query", reading) }]);
    if (isRequired === true) required.push(name);
  }
  const hasFile = members.some(({ value }) => membersOf(value)["type"] === "file");
  const urlEncoded = "application/x-www-form-urlencoded";
  const isMultipart = hasFile || (types.includes("multipart/form-data") && !types.includes(urlEncoded));
  return {
    contentType: isMultipart ? "multipart/form-data" : urlEncoded,
    required: required.length > 0,
    schema: {
      type: "object",
      properties: Object.fromEntries(properties),
      ...(required.length > 0 && { required }),
    },
    encoding: Object.fromEntries(encoding),
    needs,
  };
}

/** The parameter as a schema: `required` says there that it must be given. */
function schemaIn(place: Place): Place {
  const { required: _required, in: _in, name: _name, ...schema } = membersOf(place.value);
  return { ...place, value: schema };
}

function listForm(place: Place, where: Parameter["in"], { problems }: DocumentReading): MemberForm {
  const { type, collectionFormat = "csv" } = membersOf(place.value);
  if (type !== "array") return {};
  if (collectionFormat === "csv") return where === "query" ? { explode: false } : {};
  if (where === "query" && collectionFormat === "multi") return { explode: true };
  if (where === "query" && collectionFormat === "ssv") return { style: "spaceDelimited", explode: false };
  if (where === "query" && collectionFormat === "pipes") return { style: "pipeDelimited", explode: false };
  const format = JSON.stringify(collectionFormat).slice(0, 50);
  problems.add(
    at(place, "collectionFormat").pointer,
    `lists of a ${where} cannot be written as ${format}; commas are used`,
  );
  return where === "query" ? { explode: false } : {};
}

/** Of the operation, or of the document for those that say nothing. */
function mediaTypes(operation: Place, what: "consumes" | "produces", reading: DocumentReading): string[] {
  const own: JsonValue | undefined = membersOf(operation.value)[what];
  const given = Array.isArray(own) ? own : reading.swagger?.[what];
  return Array.isArray(given) ? given.filter((type) => typeof type === "string") : [];
}
