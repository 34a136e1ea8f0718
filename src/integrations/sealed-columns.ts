import type { SealedColumn } from "#src/crypto/sealed-column.ts";
import { sql } from "#src/db/drizzle.cjs";
import type { Environment } from "#src/platform/caller.ts";
import { ownerOf } from "./oauth-clients.ts";
import { oauthClients } from "./schema.ts";

const { orgId, environment, integration, authMethod, sealed, kekVersion, version } = oauthClients;

/** Where secrets of OAuth clients are stored, sealed. */
export const sealedClientColumns: readonly SealedColumn[] = [
  {
    table: oauthClients,
    ...{ orgId, sealed, kekVersion, version },
    id: sql`json_build_array(${environment}, ${integration}, ${authMethod})`,
    owner(orgId, id, version) {
      const [environment, integration, authMethod] = JSON.parse(id) as [Environment, string, string];
      return ownerOf({ orgId, environment }, { integration, authMethod }, version);
    },
  },
];
