import type { HandlerContext } from "@connectrpc/connect";
import { MissingScope } from "#src/api-keys/errors.ts";
import { grants } from "#src/api-keys/scopes.ts";
import type { Connections } from "#src/connections/connections.ts";
import { isVisible } from "#src/connections/access.ts";
import { requireChoice, requireOfService } from "#src/connections/of-service.ts";
import { getConnection, type SealedConnection } from "#src/connections/store.ts";
import type { Tx } from "#src/db/database.ts";
import { UnknownIntegration } from "#src/integrations/errors.ts";
import { findPreset } from "#src/integrations/presets.ts";
import { isBuiltIn, isCustom } from "#src/integrations/slug.ts";
import type { Catalog } from "#src/operations/import/revision-store.ts";
import { callerOf, type Caller } from "#src/platform/caller.ts";

/** Finds the connection through which a service is asked about itself: that which is named, or has the service's slug. */
export type ServiceConnection = (
  slug: string,
  named: string | undefined,
  context: HandlerContext,
) => Promise<SealedConnection>;

/** Knows which connections a caller may use. */
export function createServiceConnection(connections: Pick<Connections, "usable">): ServiceConnection {
  return async (slug, named, context) => {
    const caller = callerOf(context);
    if (!grants(caller.scopes, "connections:use")) throw new MissingScope("connections:use");
    if (!isBuiltIn(slug) && !isCustom(slug) && findPreset(slug) === undefined) throw new UnknownIntegration();
    requireChoice("connection", named, slug);
    const connection = await connections.usable(caller, named ?? slug);
    requireOfService("connection", connection, slug);
    return connection;
  };
}

/** Without what is known through a connection that the caller may not know of. */
export async function shownTo(caller: Caller, tx: Tx, catalog: Catalog): Promise<Catalog> {
  const { watchedThrough, drift } = catalog;
  if (watchedThrough === undefined) return catalog;
  const connection = await getConnection(tx, caller, watchedThrough);
  if (connection !== undefined && isVisible(caller, connection)) return catalog;
  // An error names the host that it is called at.
  return { ...catalog, watchedThrough: undefined, drift: drift?.error === undefined ? drift : undefined };
}
