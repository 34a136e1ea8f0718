/** A client encodes twice by mistake; more rounds than this are only made to hide something. */
const mostRounds = 4;

/**
 * The text as bytes, with its percent escapes decoded, and those that appear by that. Broken ones stay, for they must
 * not hide what stands beside them.
 */
export function decodedThrough(text: string): string {
  let decoded = text;
  for (let round = 0; round < mostRounds && decoded.includes("%"); round++) decoded = decodedOnce(decoded);
  return decoded;
}

function decodedOnce(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
