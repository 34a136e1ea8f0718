/**
 * What may differ between the two ways, beside what differs between any two calls (see mask.ts). Whoever adds a line
 * here says why no client can mind.
 */
const tolerated = [
  {
    // RFC 9112, 6: a recipient takes all of these for the same message, and proxies turn one into another.
    what: "whether content-length, chunks or, where the connection ends, its end frames a body of HTTP/1.1",
    hide: (line: string) =>
      /^framing: (?:one|the end of the connection)$/.test(line) ? "framing: right" : line,
  },
  {
    // RFC 9113, 8.1.1: optional beside the frames of the body, which say the same.
    what: "whether an answer over HTTP/2 gives its content-length as well",
    hide: (line: string) => (/^content-length: \d+$/.test(line) ? undefined : line),
  },
] as const;

/** The lines of an answer without the tolerated differences. */
export function withoutTolerated(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    let shown: string | undefined = line;
    for (const { hide } of tolerated) shown = shown === undefined ? undefined : hide(shown);
    return shown ?? [];
  });
}
