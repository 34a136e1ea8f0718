import { InvalidOutboundRequest } from "./errors.ts";
import type { Injection } from "./injection.ts";
import { sameParameter } from "./parameters.ts";

/**
 * A query as its caller encoded it, with its question mark, and the credential's parameters in place of those of the
 * same name.
 */
export function rawQueryOf(given: string, injection: Pick<Injection, "query">): string {
  if (!/^[\x21-\x7e]*$/.test(given) || given.includes("#")) {
    throw new InvalidOutboundRequest("query: percent-encode blanks, # and characters beyond ASCII");
  }
  const injected = Object.entries(injection.query);
  const isReplaced = sameParameter(injected.map(([name]) => name));
  const kept = injected.length === 0 ? [given] : given.split("&").filter((pair) => !isReplaced(nameIn(pair)));
  const ours = injected.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  const query = [...kept, ...ours].filter((part) => part !== "").join("&");
  return query === "" ? "" : `?${query}`;
}

/** The name of an encoded parameter, as a form's reader sees it. */
function nameIn(pair: string): string {
  const [name = ""] = new URLSearchParams(pair.replace(/=.*$/s, "")).keys();
  return name;
}
