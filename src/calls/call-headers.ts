/**
 * What the answer to a call says of whose it is and how many tries there were: a service's 401 is not ours. Headers of
 * the answer, on every protocol.
 */
export function callHeaders(source: "upstream" | "patchbay", attempts: number): Record<string, string> {
  return { "x-patchbay-source": source, "x-patchbay-attempts": String(attempts) };
}
