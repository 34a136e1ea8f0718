import type { SealedColumn } from "#src/crypto/sealed-column.ts";
import { ownerOfHeaders, ownerOfSecret } from "./endpoint-secrets.ts";
import { webhookEndpoints, webhookSecrets } from "./schema.ts";

/** Where secrets and headers of webhook endpoints are stored, sealed. */
export const sealedWebhookColumns: readonly SealedColumn[] = [
  {
    table: webhookSecrets,
    ...{ orgId: webhookSecrets.orgId, sealed: webhookSecrets.sealed, kekVersion: webhookSecrets.kekVersion },
    ...{ id: webhookSecrets.endpointId, version: webhookSecrets.version },
    owner: (orgId, id, version) => ownerOfSecret({ orgId, id }, version),
  },
  {
    table: webhookEndpoints,
    orgId: webhookEndpoints.orgId,
    sealed: webhookEndpoints.sealedHeaders,
    kekVersion: webhookEndpoints.headersKekVersion,
    ...{ id: webhookEndpoints.id, version: webhookEndpoints.headersVersion },
    owner: (orgId, id, version) => ownerOfHeaders({ orgId, id }, version),
  },
];
