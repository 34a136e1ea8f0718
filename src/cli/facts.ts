import { printable } from "./print.ts";

/** What is known of one thing, a line for each fact that there is. */
export function facts(known: Readonly<Record<string, string | undefined>>): string {
  const lines = Object.entries(known).filter(([, fact]) => fact !== undefined && fact !== "");
  const width = Math.max(...lines.map(([label]) => label.length)) + 2;
  return lines.map(([label, fact = ""]) => `${label.padEnd(width)}${printable(fact)}\n`).join("");
}
