/** Says whose answer it is: a service's 401 is no 401 of ours. */
export const sourceHeader = "x-patchbay-source";
/** Says how often the service was called. */
const attemptsHeader = "x-patchbay-attempts";

/** What the answer to a call says of itself, in its headers on every protocol. */
export function callHeaders(source: "upstream" | "patchbay", attempts: number): [string, string][] {
  return [
    [sourceHeader, source],
    [attemptsHeader, String(attempts)],
  ];
}
