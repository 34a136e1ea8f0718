import { namesIn } from "#src/integrations/templates.ts";
import type { OutboundCredential } from "#src/outbound/injection.ts";
import { injectionOf } from "./credentials.ts";
import type { SealedConnection } from "./store.ts";

/** As long for each secret: not even its length is shown. */
const mask = "***";

/** What a call carries, with the mask in place of each secret. The sealed ones are not opened for it. */
export function maskedCredential(connection: SealedConnection): OutboundCredential {
  const { inject: template, fields } = connection.recipe.method;
  const shown = new Set(Object.keys(connection.params));
  for (const { name, secret } of fields) if (secret) shown.delete(name);
  // In the template's JSON, a brace beside a letter is always one of a name.
  const masked = namesIn(JSON.stringify(template)).filter((name) => !shown.has(name));
  return {
    boundTo: connection.credential?.boundTo ?? connection.baseUrl,
    reveal() {
      const injection = injectionOf(connection, Object.fromEntries(masked.map((name) => [name, mask])));
      if (template.basic === undefined) return injection;
      // Base64 would hide the mask, and what stands beside it.
      return { ...injection, headers: { ...injection.headers, authorization: `Basic ${mask}` } };
    },
  };
}
