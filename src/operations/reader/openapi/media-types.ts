import { bodyKind } from "#src/operations/forms/body-kind.ts";

/** Whether it is JSON, or a range that JSON is in. */
export function isJson(type: string): boolean {
  return bodyKind(type) === "json" || ["application/*", "*/*"].includes(type.trim());
}

const kinds = ["json", "form", "multipart", "text"];

/** The one that is easiest to give: JSON, then forms, then texts, in the order of the document. */
export function preferred(types: readonly string[]): string | undefined {
  const plain = (type: string) => /^application\/json\s*(?:;|$)/i.test(type.trim());
  const ofKind = kinds.map((kind) => types.find((type) => bodyKind(type) === kind));
  return types.find(plain) ?? ofKind.find((type) => type !== undefined) ?? types.find(isJson) ?? types[0];
}
