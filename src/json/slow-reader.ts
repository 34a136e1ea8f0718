import type { JsonValue } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { isKeptByDouble } from "./number.ts";
import { endOfNumber, endOfString } from "./scan.ts";

/**
 * Reads JSON that `JSON.parse` has found to be JSON, and that is not nested deeply. Refuses, by its path, what an
 * object or a double cannot keep: a member that is given twice, a number with too many digits.
 *
 * It takes several times as long, and is for texts of which `scanJson` says that `JSON.parse` may change them.
 */
export function readSlowly(text: string): JsonValue {
  const path: (string | number)[] = [];
  let at = 0;

  /** The next character that is not white space. */
  function next(): string {
    while (" \t\n\r".includes(text.charAt(at)) && at < text.length) at++;
    return text.charAt(at);
  }

  function readString(): string {
    const start = at;
    at = endOfString(text, start);
    return JSON.parse(text.slice(start, at)) as string;
  }

  function readNumber(): number {
    const start = at;
    at = endOfNumber(text, start);
    const source = text.slice(start, at);
    if (isKeptByDouble(source)) return Number(source);
    throw new InvalidRequest(
      `${fieldAt(path)}: a double does not keep this number exactly; give it as a string`,
    );
  }

  function readObject(): JsonValue {
    const members = new Map<string, JsonValue>();
    for (at++; next() !== "}"; skipComma()) {
      const name = readString();
      path.push(name);
      if (members.has(name)) throw new InvalidRequest(`${fieldAt(path)} is given twice`);
      next();
      at++; // the colon
      members.set(name, readValue());
      path.pop();
    }
    at++;
    return Object.fromEntries(members);
  }

  function readList(): JsonValue {
    const items: JsonValue[] = [];
    for (at++; next() !== "]"; skipComma()) {
      path.push(items.length);
      items.push(readValue());
      path.pop();
    }
    at++;
    return items;
  }

  function skipComma(): void {
    if (next() === ",") at++;
  }

  function readValue(): JsonValue {
    switch (next()) {
      case "{":
        return readObject();
      case "[":
        return readList();
      case '"':
        return readString();
      case "t":
        at += "true".length;
        return true;
      case "f":
        at += "false".length;
        return false;
      case "n":
        at += "null".length;
        return null;
      default:
        return readNumber();
    }
  }

  return readValue();
}

const maxShown = 200;

function fieldAt(path: readonly (string | number)[]): string {
  const text = path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part.slice(0, 64)}`))
    .join("")
    .replace(/^\./, "");
  if (text === "") return "the body";
  return `field "${text.length > maxShown ? `${text.slice(0, maxShown)}…` : text}"`;
}
