/** What any two calls differ in, whatever way they take: each by a name, numbered by its first appearance. */
const patterns: readonly (readonly [string, RegExp])[] = [
  ["secret", /qe_sk_(?:sandbox|live)_[A-Z2-7]{32}/g],
  ["hint", /qe_sk_(?:sandbox|live)_[A-Z2-7]{4}(?![A-Z2-7])/g],
  ["id", /(?:org|usr|key|scn|chn|grp|whe)_[0-9A-HJKMNP-TV-Z]{26}/g],
  ["token", /(?<![\w-])[\w-]{22}\.\d+/g],
  ["request id", /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g],
  ["hash", /\b[0-9a-f]{64}\b/g],
];

/** The same value, with names for what is random and without what a clock says. */
export function masked(value: unknown): unknown {
  let text = JSON.stringify(value);
  for (const [name, pattern] of patterns) {
    const seen = new Map<string, string>();
    text = text.replace(pattern, (found) => {
      const known = seen.get(found) ?? `<${name} ${seen.size + 1}>`;
      seen.set(found, known);
      return known;
    });
  }
  text = text
    .replace(/"date: [^"]*"/g, '"date: <date>"')
    // Of a service that is called.
    .replace(/(\bdate\\*":\\*")\w{3}, [\w :]+ GMT/g, "$1<date>")
    // Ports that are free are given again.
    .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:<port>")
    // Of the organisation's first key, and the database's clock: neither is turned by these tests.
    .replace(/("(?:at|createdAt)\\*":\s?\\*")[0-9T:.-]+Z/g, "$1<now>")
    .replace(/(latencyMs\\*":\s?)\d+(?:\.\d+)?/g, "$10");
  return JSON.parse(text, (_, member: unknown) =>
    isCutLine(member) ? withoutChance(member) : member,
  ) as unknown;
}

type CutLine = { readonly cut: true } & Record<string, unknown>;

function isCutLine(value: unknown): value is CutLine {
  return typeof value === "object" && value !== null && "cut" in value && value.cut === true;
}

/**
 * The gate may have known the caller, or not yet, when that hung up. Connect may have begun an answer by the time the
 * line is written, whose status no client sees any more.
 */
function withoutChance({ orgId: _orgId, apiKeyId: _apiKeyId, status: _status, ...line }: CutLine): object {
  return line;
}
