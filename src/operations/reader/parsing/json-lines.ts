import { below } from "../pointer.ts";

/** The lines of what is at the pointers in a JSON text, in one pass over it; none for JSON that is all in one line. */
export function linesInJson(text: string, pointers: ReadonlySet<string>): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  if (pointers.size === 0 || !text.trimEnd().includes("\n")) return found;
  /** The containers around, and in each the pointer to what comes next. */
  const around: { readonly pointer: string; index: number; name: string | undefined }[] = [];
  let line = 1;
  let isName = false;
  for (const part of tokensOf(text)) {
    if (part === "\n") {
      line += 1;
      continue;
    }
    const here = around.at(-1);
    if (part === ":") continue;
    if (part === ",") {
      if (here !== undefined && here.name === undefined) here.index += 1;
      else isName = true;
      continue;
    }
    if (part === "}" || part === "]") {
      around.pop();
      isName = false;
      continue;
    }
    if (isName && here !== undefined) {
      here.name = JSON.parse(part) as string;
      note(below(here.pointer, here.name));
      isName = false;
      continue;
    }
    const pointer = here === undefined ? "" : below(here.pointer, here.name ?? here.index);
    if (here === undefined || here.name === undefined) note(pointer);
    if (part === "{" || part === "[") around.push({ pointer, index: 0, name: undefined });
    isName = part === "{";
  }
  return found;

  function note(pointer: string) {
    if (pointers.has(pointer)) found.set(pointer, line);
  }
}

/** Texts are not matched as a whole: for each of their characters, that may take memory of a stack. */
function* tokensOf(text: string): Generator<string> {
  const start = /"|[{}[\],:\n]|[^\s"{}[\],:]+/g;
  for (let found = start.exec(text); found !== null; found = start.exec(text)) {
    if (found[0] === '"') start.lastIndex = endOfText(text, found.index);
    yield text.slice(found.index, start.lastIndex);
  }
}

function endOfText(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  return end + 1;
}
