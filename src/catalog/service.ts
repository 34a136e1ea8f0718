import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { JsonObject } from "@bufbuild/protobuf";
import type { EndpointSchema, ServiceSchema } from "#gen/patchbay/catalog/v1/catalog_pb.js";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { listBySlug, type NamedConnection } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import type { OperationContract } from "#src/operations/operation.ts";
import type { Operations } from "#src/operations/operations.ts";
import { parametersSchema } from "#src/operations/parameters-schema.ts";
import type { Endpoint } from "#src/operations/service-description.ts";
import { callerOf } from "#src/platform/caller.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";

const defaultPageSize = 200;

/** Says what connected services offer. See the contract, `catalog_service.proto`. */
export function createCatalogService(parts: {
  database: Database;
  operations: Operations;
}): Pick<ServiceImpl<typeof CatalogService>, "listServices"> {
  const { database, operations } = parts;

  async function messageOf(
    orgId: string,
    { slug, baseUrl }: NamedConnection,
  ): Promise<MessageInitShape<typeof ServiceSchema>> {
    const service = await operations.describe(orgId, slug);
    const endpoints = [];
    for (const endpoint of service?.endpoints ?? []) {
      const contract = await operations.contractOf(orgId, slug, service!, endpoint);
      endpoints.push(endpointMessage(slug, endpoint, contract!));
    }
    return { slug, name: service?.name ?? slug.replace(/^custom:/, ""), baseUrl, endpoints };
  }

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
      const catalog = await Promise.all(page.items.map((connection) => messageOf(caller.orgId, connection)));
      return { catalog, ...nextPage(page) };
    },
  };
}

function endpointMessage(
  slug: string,
  { method, path, name, scopes, operationId, deprecated }: Endpoint,
  { inputSchema, outputSchema, parameters, body }: OperationContract,
): MessageInitShape<typeof EndpointSchema> {
  const ofParameters = parametersSchema(parameters);
  return {
    method,
    path,
    name,
    actionIdentifier: `${slug}/${operationId ?? `${method} ${path}`}`,
    deprecated,
    ...(body && { contentType: body.contentType }),
    ...(scopes.length > 0 && { scope: scopes.join(" ") }),
    ...(inputSchema && { inputSchema: JSON.parse(inputSchema) as JsonObject }),
    ...(outputSchema && { outputSchema: JSON.parse(outputSchema) as JsonObject }),
    ...(ofParameters && { parametersSchema: ofParameters }),
  };
}
