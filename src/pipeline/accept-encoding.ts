/** What a caller says of the coding that its answer may come in. */
export interface Accepted {
  /** The known coding that it prefers; undefined if it takes none of them, or prefers none to all. */
  readonly coding: string | undefined;
  /** Whether it takes an answer without a coding. */
  readonly plain: boolean;
}

const element = /^\s*([\w!#$%&'*+.^`|~-]+)\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?$/i;

/**
 * What an `Accept-Encoding` leaves of the known codings (RFC 9110, 12.5.3). Of two that it gives the same weight, the
 * one that it names first. Without the header all of them would do, but a client that can undo one says so.
 */
export function acceptedOf(header: string, known: readonly string[]): Accepted {
  const weights = weightsIn(header);
  const named = [...weights.keys()].flatMap((name) =>
    known.filter((one) => one === name || (name === "*" && !weights.has(one))),
  );
  const weightOf = (name: string) => weights.get(name) ?? weights.get("*");
  const plain = weightOf("identity");
  const [best] = named.toSorted((a, b) => (weightOf(b) ?? 0) - (weightOf(a) ?? 0));
  const weight = (best !== undefined && weightOf(best)) || 0;
  return { coding: weight > 0 && weight >= (plain ?? 0) ? best : undefined, plain: plain !== 0 };
}

/** The weight of each coding, in the order in which they are named. What is malformed is left out. */
function weightsIn(header: string): ReadonlyMap<string, number> {
  const weights = new Map<string, number>();
  for (const text of header.split(",")) {
    const [, token, q = "1"] = element.exec(text) ?? [];
    if (token === undefined) continue;
    // The name that some clients still have for it (RFC 9110, 8.4.1.3).
    const name = token.toLowerCase().replace(/^x-gzip$/, "gzip");
    if (!weights.has(name)) weights.set(name, Number(q));
  }
  return weights;
}
