/** The two sides of `name=value`. Throws, without the text, in which there may be a secret. */
export function pairIn(flag: string, text: string): [name: string, value: string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new Error(`${flag}: give name=value`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}
