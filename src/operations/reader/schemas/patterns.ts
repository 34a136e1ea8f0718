import { RE2JS } from "re2js";

const maxLength = 4_000;

/**
 * The pattern in a spelling that JSON Schema has and RE2 understands, in which no value takes more than linear time;
 * undefined if there is none, as for look-around and back references.
 */
export function soundPattern(source: string): string | undefined {
  if (source.length > maxLength) return undefined;
  return [source, withoutNeedlessEscapes(source)].find(isSound);
}

function isSound(source: string): boolean {
  try {
    void new RegExp(source, "u");
    RE2JS.compile(RE2JS.translateRegExp(source));
    return true;
  } catch {
    return false;
  }
}

/** `\_`, `\@` and `\-` are the character itself where Unicode is not asked for, and JSON Schema asks for it. */
function withoutNeedlessEscapes(source: string): string {
  const plain = source.replace(/\\([\s\S])/g, (escape, char: string) =>
    /[a-zA-Z0-9^$\\.*+?()[\]{}|/-]/.test(char) ? escape : char,
  );
  // Within brackets, a dash may be the one of a range.
  return plain.replace(/\[(?:\\[\s\S]|[^\]\\])*\]|\\[\s\S]/g, (part) => (part === "\\-" ? "-" : part));
}
