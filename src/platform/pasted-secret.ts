/** What was pasted around a key and is no part of it, in words for the caller; undefined if nothing was. */
export function pastedProblem(text: string): string | undefined {
  if (/^\s*(?:authorization\s*:\s*)?bearer(?:\s|$)/i.test(text)) {
    return 'leave out "Bearer ", which is put before the key when it is sent; give the key alone';
  }
  if (text !== text.trimEnd()) return "has white space at its end, such as a line break; give the key alone";
  return text === text.trimStart() ? undefined : "has white space at its start; give the key alone";
}
