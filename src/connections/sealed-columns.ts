import type { SealedColumn } from "#src/crypto/sealed-column.ts";
import { sql } from "#src/db/drizzle.cjs";
import { ownerOf } from "./credentials.ts";
import { ownerOf as ownerOfFlow } from "./oauth/flow.ts";
import { credentials, fallbackCredentials, oauthFlows } from "./schema.ts";

/** Where secrets of connections are stored, sealed. */
export const sealedConnectionColumns: readonly SealedColumn[] = [
  ...[credentials, fallbackCredentials].map((table) => ({
    table,
    ...{ orgId: table.orgId, sealed: table.sealed, kekVersion: table.kekVersion },
    ...{ id: table.connectionId, version: table.version },
    owner: (orgId: string, id: string, version: number) => ownerOf({ orgId, id }, version),
  })),
  {
    table: oauthFlows,
    ...{ orgId: oauthFlows.orgId, sealed: oauthFlows.sealed, kekVersion: oauthFlows.kekVersion },
    id: sql`encode(${oauthFlows.tokenHash}, 'hex')`,
    owner: (orgId, id) => ownerOfFlow({ orgId, tokenHash: Buffer.from(id, "hex") }),
  },
];
