import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ServiceSchema } from "#gen/patchbay/catalog/v1/catalog_pb.js";
import { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { listBySlug, type NamedConnection } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import { callerOf } from "#src/platform/caller.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import type { Endpoint, ServiceDescription } from "#src/integrations/endpoints.ts";
import { describeService } from "#src/integrations/siblings.ts";

const defaultPageSize = 200;

/** Says what connected services offer. See the contract, `catalog_service.proto`. */
export function createCatalog({ database }: { database: Database }): Feature {
  return { services: [serve(CatalogService, createCatalogService(database))] };
}

function createCatalogService(database: Database): ServiceImpl<typeof CatalogService> {
  return {
    async listServices(request, context) {
      const caller = callerOf(context);
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listBySlug(tx, caller, rows),
          (connection) => connection.slug,
        ),
      );
      return {
        catalog: page.items.map((connection) => toMessage(connection, describeService(connection.slug))),
        ...nextPage(page),
      };
    },
  };
}

function toMessage(
  connection: NamedConnection,
  service: ServiceDescription | undefined,
): MessageInitShape<typeof ServiceSchema> {
  return {
    slug: connection.slug,
    name: service?.name ?? connection.slug.replace(/^custom:/, ""),
    baseUrl: connection.baseUrl,
    endpoints: (service?.endpoints ?? []).map(endpointMessage),
  };
}

function endpointMessage(endpoint: Endpoint) {
  const { method, path, name, scope, inputSchema, outputSchema, parametersSchema } = endpoint;
  return {
    method,
    path,
    name,
    ...(scope !== undefined && { scope }),
    ...(inputSchema && { inputSchema }),
    ...(outputSchema && { outputSchema }),
    ...(parametersSchema && { parametersSchema }),
  };
}
