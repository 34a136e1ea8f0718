import type { JsonValue } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { countMembers, scanJson } from "./scan.ts";
import { readSlowly } from "./slow-reader.ts";

/**
 * The value of a JSON text. Refuses text that is not JSON or nested too deeply, and what `JSON.parse` would silently
 * change: it keeps only the last of members with one name, and only what a double can hold of a number.
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
