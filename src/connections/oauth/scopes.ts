import type { OAuth2Method } from "#src/integrations/integration.ts";

/** The scopes as the service wants them named; nothing where it takes none. */
export function scopeParameter(
  { scopeParameter: name, scopeSeparator }: Pick<OAuth2Method, "scopeParameter" | "scopeSeparator">,
  scopes: readonly string[],
): Record<string, string> {
  return name === null || scopes.length === 0 ? {} : { [name ?? "scope"]: scopes.join(scopeSeparator) };
}
