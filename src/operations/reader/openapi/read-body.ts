import type { JsonObject } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import type { DocumentedBody } from "#src/operations/forms/body-form.ts";
import { followed, type DocumentReading } from "./document-reading.ts";
import { preferred } from "./media-types.ts";
import { noNeeds, type Needs } from "../needs.ts";
import { at, type Place } from "../schemas/references.ts";

/** A body as the document describes it, and what its schema refers to. */
export interface ReadBody extends DocumentedBody {
  readonly schema: JsonObject | undefined;
  readonly needs: Needs;
}

/** The body of a request, in the content type that is easiest to give; undefined for an operation that takes none. */
export function readBody(operation: Place, reading: DocumentReading): ReadBody | undefined {
  const given = at(operation, "requestBody");
  const place = given.value === undefined ? undefined : followed(given, reading);
  if (place === undefined) return undefined;
  const content = at(place, "content");
  const contentType = isObject(content.value) ? preferred(Object.keys(content.value)) : undefined;
  if (contentType === undefined) {
    reading.problems.add(place.pointer, "has no content, so no body is sent");
    return undefined;
  }
  const media = followed(at(content, contentType), reading);
  const schema = media && at(media, "schema");
  const needs = noNeeds();
  return {
    contentType,
    required: membersOf(place.value)["required"] === true,
    schema: schema?.value === undefined ? undefined : reading.definitions.read(schema, needs),
    encoding: media && at(media, "encoding").value,
    needs,
  };
}
