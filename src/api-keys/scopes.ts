/** `resource:verb`, `resource.verb`, or a legacy wildcard. */
const grammar = /^[A-Za-z0-9_-]+(?:[.:][A-Za-z0-9_-]+)+$/;
const wildcards = ["read", "write"] as const;

/** The requirement sets no limit; this one keeps a key with 200 scopes small. */
const maxScopeLength = 64;

/** Whether the text can be a scope of a key. */
export function isScope(text: string): boolean {
  return text.length <= maxScopeLength && (isWildcard(text) || grammar.test(text));
}

/** What is wrong with the scopes of a key, in words for whoever gave them; undefined if nothing is. */
export function scopesProblem(scopes: readonly string[]): string | undefined {
  if (scopes.length === 0) return "give at least one, such as connections:view";
  const wrong = scopes.find((scope) => !isScope(scope));
  return wrong === undefined
    ? undefined
    : `${JSON.stringify(wrong)} is not a scope; write resource:verb, such as connections:view`;
}

/**
 * One spelling for scopes that mean the same: `sar.write` is `sar:write`, and `rule.read` is `rule:view`.
 * Scopes are stored and shown in the spelling that the caller gave, and compared in this form.
 */
export function canonicalScope(scope: string): string {
  if (isWildcard(scope)) return scope;
  const colon = scope.lastIndexOf(":");
  const split = colon === -1 ? scope.lastIndexOf(".") : colon;
  const verb = scope.slice(split + 1);
  const dottedRead = colon === -1 && verb === "read";
  return `${scope.slice(0, split)}:${dottedRead ? "view" : verb}`;
}

/**
 * Whether a key with these scopes may do what needs `wanted`.
 *
 * The wildcards cover reading and writing of resources and nothing else: `:manage`, `:use`, `:verify` and
 * `:grant` must be named, so that a legacy `write` key cannot issue keys or spend credentials.
 */
export function grants(held: readonly string[], wanted: string): boolean {
  const need = canonicalScope(wanted);
  return held.some((scope) => covers(canonicalScope(scope), need));
}

/** The first of `wanted` that the holder could not give, in the order given; undefined if it could give all. */
export function firstNotGrantable(held: readonly string[], wanted: readonly string[]): string | undefined {
  if (grants(held, grantAny)) return undefined;
  return wanted.find((scope) => !grants(held, scope));
}

/** Lifts the rule that a key can only give what it holds. */
const grantAny = "api:grant";

function covers(held: string, need: string): boolean {
  if (held === need) return true;
  if (held === "write") return need === "read" || need.endsWith(":view") || need.endsWith(":write");
  if (held === "read") return need.endsWith(":view");
  return false;
}

function isWildcard(text: string): boolean {
  return (wildcards as readonly string[]).includes(text);
}
