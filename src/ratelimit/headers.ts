import type { Budget, RateLimit } from "./gcra.ts";

/** What an answer says of the caller's budget: draft-ietf-httpapi-ratelimit-headers, with one policy. */
export function rateLimitHeaders(
  { limit, windowMs }: RateLimit,
  { remaining, resetMs }: Budget,
): Readonly<Record<string, string>> {
  return {
    "ratelimit-policy": `"default";q=${limit};w=${windowMs / 1000}`,
    ratelimit: `"default";r=${remaining};t=${Math.ceil(resetMs / 1000)}`,
  };
}
