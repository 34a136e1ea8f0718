/**
 * Whether a parameter is one that a service could take for one of these: many ignore case, and PHP makes `api_key` of
 * `api.key`, `api key` and `api[key`, and a list of `api_key[]`.
 */
export function sameParameter(names: readonly string[]): (name: string) => boolean {
  const pattern = new RegExp(`^\\s*(?:${names.map(patternOf).join("|")})\\s*(?:\\[.*)?$`, "isu");
  return (name) => pattern.test(name);
}

function patternOf(name: string): string {
  return Array.from(name.trim(), (character) => {
    if (/[. _[\]]/.test(character)) return "[. _[\\]]";
    return /[a-z0-9]/i.test(character) ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`;
  }).join("");
}
