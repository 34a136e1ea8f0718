import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import { walkJson } from "./walk.ts";

/**
 * Whether the text is JSON that nothing changes on its way through a message: no object has two members of one name,
 * doubles keep all numbers, no text has half a surrogate pair, and it is not nested deeper than the limit. Looks at
 * long texts in turns with the rest of the event loop.
 */
export async function isExactJson(text: string, maxDepth: number): Promise<boolean> {
  try {
    await inTurns(walkJson(text, { maxDepth, allowsNul: true }));
    return true;
  } catch (error) {
    if (error instanceof InvalidRequest) return false;
    throw error;
  }
}
