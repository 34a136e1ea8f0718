/** The parts of a list that a flag gives, separated by commas. */
export function listIn(text = ""): string[] {
  return text === "" ? [] : text.split(",").map((part) => part.trim());
}
