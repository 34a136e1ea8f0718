import { create, type JsonObject, type JsonValue, type Message } from "@bufbuild/protobuf";
import { type FieldMask, FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import type { Binding } from "./binding.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { isObject } from "#src/json/object.ts";
import { get, jsonFromText, put, reach } from "./fields.ts";
import { messageFromJson } from "#src/json/read.ts";
import { readQuery } from "./query.ts";
import type { Route } from "./router.ts";

/** The message that path, query and body make together. The path beats the body. */
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
    put(reach(request, fields), field, jsonFromText(field, values[index]!));
  }
  const message = messageFromJson(binding.method.input, request);
  return changed === undefined ? message : Object.assign(message, changed);
}

function objectOf(body: JsonValue = {}): JsonObject {
  if (!isObject(body)) throw new InvalidRequest("the body must be a JSON object");
  return body;
}

/** The mask of a PATCH that came without one: the fields that its body names, so that null clears a field. */
function changedBy(binding: Binding, request: JsonObject): Record<string, FieldMask> | undefined {
  const { fields } = binding.method.input;
  const mask = fields.find(
    (field) => field.name === "update_mask" && field.message?.typeName === FieldMaskSchema.typeName,
  );
  if (binding.httpMethod !== "PATCH" || binding.body !== "*" || mask === undefined) return undefined;
  if ((get(request, mask) ?? null) !== null) return undefined;
  const inPath = binding.variables.map((bound) => bound.length === 1 && bound[0]);
  const paths = fields
    .filter((field) => field !== mask && !inPath.includes(field) && get(request, field) !== undefined)
    .map((field) => field.name);
  return paths.length === 0 ? undefined : { [mask.localName]: create(FieldMaskSchema, { paths }) };
}
