/** Somebody encodes twice by mistake; more often, only somebody who hides something. */
const mostRounds = 4;

/**
 * The text with its percent escapes decoded, and those that appear by that, as bytes. Broken ones stay, as they must
 * not keep what stands beside them from being seen.
 */
export function decodedThrough(text: string): string {
  let decoded = text;
  for (let round = 0; round < mostRounds && decoded.includes("%"); round++) decoded = decodedOnce(decoded);
  return decoded;
}

function decodedOnce(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
