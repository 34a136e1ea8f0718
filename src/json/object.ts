import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

/** Whether the JSON is an object, which neither a list nor null is. */
export function isObject(json: JsonValue | undefined): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

/** The members of an object; none of anything else. */
export function membersOf(json: JsonValue | undefined): JsonObject {
  return isObject(json) ? json : {};
}
