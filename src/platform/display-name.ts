// Spaces, what has no width, fillers of scripts that count as letters, and a Braille cell without dots.
const blank = String.raw`\u0020\u00a0\u00ad\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200d\u202f\u205f-\u2065\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8`;
// Control characters, ends of lines and paragraphs, and marks of direction.
const refused = String.raw`\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f`;

/**
 * What people call something: one line with something to see in it. The rule `display_name` of the contracts has the
 * same expression and words, for readers of the contracts.
 */
export const displayNamePattern = `^[${blank}]*[^${blank}${refused}][^${refused}]*$`;

/** The rule in words. */
export const displayNameRule =
  "must be one line with something to see in it, without control characters and marks of direction";

const displayName = new RegExp(displayNamePattern, "u");

/** Whether people can call something by the text. */
export function isDisplayName(text: string): boolean {
  return displayName.test(text);
}
