import { isKeptByDouble } from "#src/json/number.ts";

let names = 0;

/** Whether the text is JSON that `JSON.parse` keeps all of, by the rules of the service: said by way of `JSON.parse`. */
export function losesNothing(text: string, maxDepth: number): boolean {
  try {
    JSON.parse(text);
  } catch {
    return false;
  }
  // Every member gets a name that no other has, nor had in another text; numbers become texts with a mark.
  const marked = text.replace(
    /"((?:[^"\\]|\\.)*)"(\s*:)?|-?\d[\d.eE+-]*/gs,
    (token: string, inside?: string, colon?: string) => {
      if (inside === undefined) return `"number ${token}"`;
      return colon === undefined ? `"text ${inside}"` : `"${names++} ${inside}":`;
    },
  );
  return isWhole(JSON.parse(marked), maxDepth);
}

function isWhole(json: unknown, depthLeft: number): boolean {
  if (typeof json === "string") {
    return json.startsWith("number ") ? isKeptByDouble(json.slice("number ".length)) : json.isWellFormed();
  }
  if (typeof json !== "object" || json === null) return true;
  if (depthLeft === 0) return false;
  const written = Array.isArray(json) ? [] : Object.keys(json).map((name) => name.replace(/^\d+ /, ""));
  return (
    new Set(written).size === written.length &&
    written.every((name) => name.isWellFormed()) &&
    Object.values(json).every((value) => isWhole(value, depthLeft - 1))
  );
}
