import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ServiceSchema } from "#gen/patchbay/catalog/v1/catalog_pb.js";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import type { Connection } from "#src/connections/connection.ts";
import { listBySlug } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import { scopeOf } from "#src/platform/caller.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import type { Endpoint, Offer } from "./offer.ts";

const defaultPageSize = 200;

/** Says what connected services offer. See the contract, `catalog_service.proto`. */
export function createCatalogService(parts: {
  database: Database;
  offers: ReadonlyMap<string, Offer>;
}): ServiceImpl<typeof CatalogService> {
  const { database, offers } = parts;
  return {
    async listServices(request, context) {
      const scope = scopeOf(context);
      const page = await database.read(scope.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listBySlug(tx, scope, rows),
          (connection) => connection.slug,
        ),
      );
      return {
        catalog: page.items.map((connection) => toMessage(connection, offers.get(connection.slug))),
        ...nextPage(page),
      };
    },
  };
}

function toMessage(connection: Connection, offer: Offer | undefined): MessageInitShape<typeof ServiceSchema> {
  return {
    slug: connection.slug,
    name: offer?.name ?? connection.slug.replace(/^custom:/, ""),
    baseUrl: connection.baseUrl,
    endpoints: (offer?.endpoints ?? []).map(endpointMessage),
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
