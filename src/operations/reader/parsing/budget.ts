import { ImportRefused } from "#src/operations/import/errors.ts";
import { limits } from "../limits.ts";

/** Counts what a document holds, and ends its reading as soon as that is too much. */
export interface Budget {
  /** One more value, this deep; if it is a text, this long. Throws ImportRefused. */
  takeValue(depth: number, textLength?: number): void;
  /** The name of a member. Throws ImportRefused. */
  takeName(name: string): void;
}

/** Nothing is counted yet. */
export function createBudget(): Budget {
  let nodes = 0;
  let characters = 0;
  function takeText(length: number) {
    characters += length;
    if (characters > limits.bytes) throw new ImportRefused("the document's texts are, with all aliases written out, longer than 16 MiB"); // prettier-ignore
  }
  return {
    takeValue(depth, textLength = 0) {
      nodes += 1;
      takeText(textLength);
      if (depth > limits.depth)
        throw new ImportRefused(`the document is nested deeper than ${limits.depth} levels`);
      if (nodes > limits.nodes) throw new ImportRefused(`the document has more than ${limits.nodes} values, with all aliases written out`); // prettier-ignore
    },
    takeName: (name) => takeText(name.length),
  };
}
