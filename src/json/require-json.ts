import { fromJson, type DescMessage, type JsonValue } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/rest/errors.ts";
import { explain } from "#src/rest/explain.ts";

/** temporary */
export function requireJson(input: DescMessage, bytes: Uint8Array): string {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  const json = JSON.parse(text) as JsonValue;
  try {
    fromJson(input, json);
  } catch {
    throw new InvalidRequest(explain(input, json) ?? "the message cannot be read");
  }
  return text;
}
