import type { ServiceImpl } from "@connectrpc/connect";
import { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import type { Database } from "#src/db/database.ts";
import type { Operations } from "#src/operations/operations.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createListOperations } from "./list-operations.ts";
import { createListServices } from "./list-services.ts";

/** Says what connected services offer. See the contract, `catalog_service.proto`. */
export function createCatalog(parts: { database: Database; operations: Operations }): Feature {
  return { services: [serve(CatalogService, createCatalogService(parts))] };
}

function createCatalogService(parts: { database: Database }): ServiceImpl<typeof CatalogService> {
  return {
    ...createListServices(parts),
    listOperations: createListOperations(parts),
  };
}
