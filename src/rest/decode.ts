import { create, type DescField, type JsonObject, type JsonValue, type Message } from "@bufbuild/protobuf";
import { type FieldMask, FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import type { Binding } from "./binding.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { isObject } from "#src/json/object.ts";
import { get, jsonFromText, put, reach } from "./fields.ts";
import { messageFromPublishedJson } from "#src/json/read.ts";
import { readQuery } from "./query.ts";
import type { Route } from "./router.ts";

/** The message that path, query and body make together. */
export function decodeRequest(
  { binding, values }: Route,
  query: string,
  body: JsonValue | undefined,
): Message {
  const parameters = readQuery(binding, query);
  const request = binding.body === "*" ? objectOf(body) : parameters;
  if (typeof binding.body === "object" && body !== undefined) put(request, binding.body, body);
  const changed = changedBy(binding, request);
  for (const [index, fields] of binding.variables.entries()) {
    const field = fields.at(-1)!;
    if (fields.length === 1) refuseInBody(request, field, "it is given in the path");
    put(reach(request, fields), field, jsonFromText(field, values[index]!));
  }
  const message = messageFromPublishedJson(binding.method.input, request);
  return changed === undefined ? message : Object.assign(message, changed);
}

function objectOf(body: JsonValue = {}): JsonObject {
  if (!isObject(body)) throw new InvalidRequest("the body must be a JSON object");
  return body;
}

/** Refuses what would otherwise be overwritten unseen. */
function refuseInBody(request: JsonObject, field: DescField, because: string): void {
  if (get(request, field) === undefined) return;
  throw new InvalidRequest(`field "${field.jsonName}" does not belong in the body: ${because}`);
}

/** The mask of a PATCH: the fields that its body names, so that null clears a field. */
function changedBy({ mask, method }: Binding, request: JsonObject): Record<string, FieldMask> | undefined {
  if (mask === undefined) return undefined;
  refuseInBody(request, mask, "the fields that it has are those that change");
  const paths = method.input.fields
    .filter((field) => get(request, field) !== undefined)
    .map((field) => field.name);
  return paths.length === 0 ? undefined : { [mask.localName]: create(FieldMaskSchema, { paths }) };
}
