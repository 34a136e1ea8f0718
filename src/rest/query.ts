import type { DescField, DescMessage, JsonObject } from "@bufbuild/protobuf";
import type { Binding } from "./binding.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { fieldNamed, unknown } from "#src/json/field-names.ts";
import { get, hasFields, jsonFromText, put, reach, takesText } from "./fields.ts";
import { maxDepth } from "#src/json/read.ts";

/** The query's parameters as the JSON of the request. */
export function readQuery(binding: Binding, query: string): JsonObject {
  const request: JsonObject = {};
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.includes("=") ? pair.indexOf("=") : pair.length;
    const name = decode(pair.slice(0, equals));
    const fields = fieldsOf(binding, name);
    const field = fields.at(-1)!;
    const target = reach(request, fields);
    const json = jsonFromText(field, decode(pair.slice(equals + 1)));
    const before = get(target, field);
    if (before === undefined) put(target, field, field.fieldKind === "list" ? [json] : json);
    else if (Array.isArray(before)) before.push(json);
    else throw new InvalidRequest(`query parameter "${name}" is given twice`);
  }
  return request;
}

function decode(text: string): string {
  try {
    const decoded = decodeURIComponent(text.replaceAll("+", " "));
    if (!decoded.includes("\0")) return decoded;
  } catch {
    // Not repaired: the caller would not learn that something else was read than it sent.
  }
  throw new InvalidRequest("the query is not percent-encoded UTF-8 without NUL");
}

function fieldsOf({ method, body, variables }: Binding, name: string): DescField[] {
  const fields: DescField[] = [];
  const parts = name.split(".");
  if (parts.length > maxDepth)
    throw new InvalidRequest(`a query parameter is nested more than ${maxDepth} levels deep`);
  let message: DescMessage | undefined = method.input;
  for (const part of parts) {
    if (message === undefined)
      throw new InvalidRequest(`query parameter "${fields[0]!.jsonName}" has no fields`);
    const field: DescField | undefined = fieldNamed(message, part);
    if (field === undefined) throw new InvalidRequest(`unknown query parameter ${unknown(message, part)}`);
    fields.push(field);
    message = hasFields(field) ? field.message : undefined;
  }
  const elsewhere = variables.some((bound) => fields.every((field, index) => field === bound[index]))
    ? "path"
    : body === "*" || body === fields[0]
      ? "body"
      : undefined;
  if (elsewhere) throw new InvalidRequest(`query parameter "${name}" belongs in the ${elsewhere}`);
  const field = fields.at(-1)!;
  if (hasFields(field))
    throw new InvalidRequest(`query parameter "${name}" is an object: give its fields, as "${name}.…"`);
  if (!takesText(field)) throw new InvalidRequest(`field "${name}" cannot be given in the query`);
  return fields;
}
