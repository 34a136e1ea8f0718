import type { ServiceImpl } from "@connectrpc/connect";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import type { Database } from "#src/db/database.ts";
import { createListOperations } from "./list-operations.ts";
import { createListServices } from "./list-services.ts";

/** Says what connected services offer. See the contract, `catalog_service.proto`. */
export function createCatalogService(parts: {
  database: Database;
}): Pick<ServiceImpl<typeof CatalogService>, "listServices" | "getService" | "listOperations"> {
  return { ...createListServices(parts), listOperations: createListOperations(parts) };
}
