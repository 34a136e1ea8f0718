import { inject } from "#src/integrations/inject.ts";
import { bearerRecipe } from "#src/integrations/integration.ts";
import type { OutboundCredential } from "#src/outbound/injection.ts";

/** A Bearer token that was stored for the base URL. */
export function bearerToken(boundTo: string, token: string): OutboundCredential {
  return { boundTo, reveal: () => inject(bearerRecipe, {}, { token }) };
}
