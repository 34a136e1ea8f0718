import type { JsonValue } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { countMembers, scanJson } from "./scan.ts";
import { readSlowly } from "./slow-reader.ts";

/**
 * The value of a JSON text, or a refusal: of text that is no JSON or too deep, and of what `JSON.parse` would change
 * in silence, since of members with one name it keeps the last, and of numbers what a double can hold.
 */
export function parseExactly(text: string, maxDepth: number): JsonValue {
  // Before parsing, which takes half a second for 4 MiB of brackets, and whose result is walked by recursion.
  const { depth, members, escapesNames, keepsNumbers } = scanJson(text, maxDepth);
  if (depth > maxDepth) throw new InvalidRequest(`the body is nested more than ${maxDepth} levels deep`);
  const json = parse(text);
  // V8 may take a name with an escape for another name that stood in its place in an earlier text, such as `\`.
  if (escapesNames || !keepsNumbers || members > countMembers(json)) return readSlowly(text);
  return json;
}

function parse(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    // The message repeats a piece of the body, so only the position is passed on.
    const [place = ""] = / \(line \d+ column \d+\)$/.exec(String(error)) ?? [];
    throw new InvalidRequest(`the body is not valid JSON${place}`);
  }
}
