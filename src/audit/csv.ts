/** One record of a CSV file (RFC 4180). */
export function csvRecord(values: readonly (string | null)[]): string {
  return `${values.map(csvField).join(",")}\r\n`;
}

/**
 * A field that a spreadsheet shows as text. One that begins like a formula would be computed, and could send what the
 * sheet holds elsewhere: it gets an apostrophe before it, as OWASP advises. Names and ids may come from anybody.
 */
function csvField(value: string | null): string {
  if (value === null) return "";
  const safe = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/u.test(value) ? `'${value}` : value;
  return /[",\r\n]|^\s|\s$/u.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
