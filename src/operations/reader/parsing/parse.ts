import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { createBudget, type Budget } from "./budget.ts";
import { ImportRefused } from "#src/operations/import/errors.ts";
import { linesInJson } from "./json-lines.ts";
import { limits } from "../limits.ts";
import { below } from "../pointer.ts";
import { reservedName, reservedReason } from "./reserved-name.ts";
import { parseYaml } from "./yaml.ts";

/** A document that was read. */
export interface ParsedDocument {
  readonly document: JsonObject;
  /** Pointers to keys that were left out, and why. */
  readonly ignored: ReadonlyMap<string, string>;
  /** The lines of what is at the pointers, from 1. Empty for JSON that is all in one line. */
  readonly linesOf: (pointers: ReadonlySet<string>) => ReadonlyMap<string, number>;
}

/** Reads a document of JSON or YAML. Throws ImportRefused. */
export function parseDocument(bytes: Uint8Array): ParsedDocument {
  if (bytes.length > limits.bytes) {
    throw new ImportRefused(`the document is larger than ${limits.bytes / 1024 / 1024} MiB`);
  }
  const text = decoded(bytes);
  if (text.trim() === "") throw new ImportRefused("the document is empty");
  const ignored = new Map<string, string>();
  const budget = createBudget();
  const json = parsedJson(text);
  if (json !== undefined) {
    withinBudget(json, budget, ignored);
    return { document: required(json), ignored, linesOf: (pointers) => linesInJson(text, pointers) };
  }
  const { value, linesOf } = parseYaml(text, budget, ignored);
  return { document: required(value), ignored, linesOf };
}

function decoded(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ImportRefused("the document is not text in UTF-8");
  }
}

/** Undefined for what is no JSON: all else is read as YAML. */
function parsedJson(text: string): JsonValue | undefined {
  if (!/^\s*[{[]/.test(text)) return undefined;
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    // As YAML, what is missing would be found after half a minute.
    if (/^\s*\{/.test(text) && !text.trimEnd().endsWith("}"))
      throw new ImportRefused("the document is not whole: it begins with { and does not end with }");
    return undefined;
  }
}

function required(value: JsonValue): JsonObject {
  if (isObject(value)) return value;
  throw new ImportRefused("the document is no object, as those of OpenAPI are");
}

/** Without recursion, as the depth is not known yet. */
function withinBudget(json: JsonValue, budget: Budget, ignored: Map<string, string>): void {
  const waiting: { readonly value: JsonValue; readonly depth: number; readonly pointer: string }[] = [{ value: json, depth: 0, pointer: "" }]; // prettier-ignore
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, depth, pointer } = next;
    budget.takeValue(depth, typeof value === "string" ? value.length : 0);
    if (Array.isArray(value)) {
      value.forEach((item, index) =>
        waiting.push({ value: item, depth: depth + 1, pointer: below(pointer, index) }),
      );
    } else if (isObject(value)) {
      for (const [name, member] of Object.entries(value)) {
        if (name === reservedName) {
          ignored.set(below(pointer, name), reservedReason);
          delete value[name];
          continue;
        }
        budget.takeName(name);
        waiting.push({ value: member, depth: depth + 1, pointer: below(pointer, name) });
      }
    }
  }
}
