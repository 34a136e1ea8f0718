import type { HandlerContext } from "@connectrpc/connect";

/** A tag of what the digest stands for. It is weak, as it is the same for each coding of the answer. */
export function weakTag(digest: string): string {
  return `W/"${digest}"`;
}

/** Whether an `If-None-Match` has the tag. */
export function matchesTag(given: string | null | undefined, tag: string): boolean {
  return (given ?? "").split(",").some((one) => sameTag(one, tag));
}

/** Weakly compared, a strong tag is the same as a weak one (RFC 9110, 13.1.2). */
function sameTag(given: string, tag: string): boolean {
  return given.trim() === "*" || `W/${given.trim().replace(/^W\//, "")}` === tag;
}

/**
 * Gives the answer a tag, and tells whether the caller has it already: then it is answered 304 over REST, and whatever
 * the handler answers is not looked at.
 */
export function isKnownAnswer(
  { responseHeader, requestHeader, protocolName }: HandlerContext,
  digest: string,
): boolean {
  const tag = weakTag(digest);
  responseHeader.set("etag", tag);
  return protocolName === "rest" && matchesTag(requestHeader.get("if-none-match"), tag);
}
