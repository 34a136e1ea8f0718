import {
  type Client,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { AuditService } from "#gen/patchbay/audit/v1/audit_service_pb.js";
import { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { DirectoryService } from "#gen/patchbay/directory/v1/directory_service_pb.js";
import { type ApiKey, authorizationOf } from "./authorization.ts";
import { patchbayReason, type ReasonName } from "./reason.ts";

/** One typed Connect client per service of Patchbay. */
export interface PatchbayClient {
  readonly connections: Client<typeof ConnectionService>;
  readonly catalog: Client<typeof CatalogService>;
  readonly apiKeys: Client<typeof ApiKeyService>;
  readonly audit: Client<typeof AuditService>;
  readonly directory: Client<typeof DirectoryService>;
}

/** The clients of all services over one transport. */
export function clientsOver(transport: Transport): PatchbayClient {
  return {
    connections: createClient(ConnectionService, transport),
    catalog: createClient(CatalogService, transport),
    apiKeys: createClient(ApiKeyService, transport),
    audit: createClient(AuditService, transport),
    directory: createClient(DirectoryService, transport),
  };
}

/** Presents the key with each call. */
export function presentKey(apiKey: ApiKey): Interceptor {
  return (next) => async (request) => {
    request.header.set("authorization", authorizationOf(apiKey));
    return next(request);
  };
}

/** The reason that Patchbay gave for refusing a call, or undefined if the error is not a refusal of Patchbay. */
export function reasonOf(error: unknown): ReasonName | undefined {
  return error instanceof ConnectError ? patchbayReason(error.findDetails(ErrorInfoSchema)) : undefined;
}
