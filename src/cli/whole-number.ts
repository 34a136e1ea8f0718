/** A number that an argument or a flag gives. Throws for any other text. */
export function wholeNumber(what: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new Error(`${what}: give a whole number`);
  return Number(text);
}
