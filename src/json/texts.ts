import type { JsonValue } from "@bufbuild/protobuf";

/** Whether `isSuch` holds for one of the texts in the JSON, names of members among them. */
export function someText(json: JsonValue, isSuch: (text: string) => boolean): boolean {
  if (typeof json === "string") return isSuch(json);
  if (typeof json !== "object" || json === null) return false;
  return Object.entries(json).some(([name, value]) => isSuch(name) || someText(value, isSuch));
}
