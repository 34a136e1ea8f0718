/** One record of a CSV file (RFC 4180). */
export function csvRecord(values: readonly (string | null)[]): string {
  return `${values.map(csvField).join(",")}\r\n`;
}

/**
 * A field that a spreadsheet shows as text. What begins like a formula would be computed, and could send what the sheet
 * holds elsewhere: it gets an apostrophe before it, as OWASP advises. Names and ids may come from anybody. So does what
 * stands behind a semicolon, a tab or the end of a line: a spreadsheet that was told, or has it from its language, that
 * those separate fields, begins one there whatever is quoted.
 */
function csvField(value: string | null): string {
  if (value === null) return "";
  const safe = value.replaceAll(formula, "$1'$2").replace(/^(?=[\t\r\n])/, "'");
  return /[",\r\n]|^\s|\s$/u.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Blanks and quotes before it are dropped by some. The last four are the first ones in full width. */
const formula = /(^|[;\t\r\n])((?:[^\S\t\r\n]|")*[=+\-@\uff1d\uff0b\uff0d\uff20])/gu;
