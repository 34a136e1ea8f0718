import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { OperationSchema } from "#gen/patchbay/catalog/v1/catalog_pb.js";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { listConnected } from "#src/connections/store.ts";
import type { Database, Tx } from "#src/db/database.ts";
import {
  searchOperations,
  type FoundOperation,
  type FoundPlace,
  type ShippedOperation,
} from "#src/operations/search-store.ts";
import type { Endpoint } from "#src/operations/service-description.ts";
import { shippedDescription } from "#src/operations/shipped.ts";
import { listInForce } from "#src/operations/store.ts";
import { callerOf, type Caller } from "#src/platform/caller.ts";
import { InvalidPageToken, placeOfToken, tokenOfPlace } from "#src/platform/paging.ts";
import { actionIdentifierOf } from "./endpoint-message.ts";

const defaultPageSize = 50;

/** Searches the operations of connected services. See the contract. */
export function createListOperations(parts: {
  database: Database;
}): ServiceImpl<typeof CatalogService>["listOperations"] {
  const { database } = parts;
  return async ({ q: text, method, scope, slug, pageSize, pageToken }, context) => {
    const caller = callerOf(context);
    const after = placeOf(pageToken);
    const size = pageSize || defaultPageSize;
    const found = await database.read(caller.orgId, async (tx) => {
      const { services, shipped } = await searchedBy(tx, caller, slug);
      const sought = { text, method, scope };
      return searchOperations(tx, caller.orgId, { services, shipped, sought, after, limit: size + 1 });
    });
    const page = found.slice(0, size);
    const last = found.length > size ? page.at(-1) : undefined;
    return {
      operations: page.map(operationMessage),
      ...(last && { nextPageToken: tokenOfPlace([String(last.rank), last.slug, last.path, last.method]) }),
    };
  };
}

/** What the caller's search looks into: imports of services that it sees a connection to, and what comes with Patchbay. */
async function searchedBy(tx: Tx, caller: Caller, slug: string) {
  const connected = await listConnected(tx, caller, slug === "" ? undefined : slug);
  const services = (await listInForce(tx, caller.orgId, connected)).map((one) => one.slug);
  const shipped = connected.filter((one) => !services.includes(one)).flatMap(shippedOperations);
  return { services, shipped };
}

function shippedOperations(slug: string): ShippedOperation[] {
  const { endpoints } = shippedDescription(slug) ?? { endpoints: [] };
  return endpoints.map((endpoint) => ({ ...endpoint, slug, description: undefined }));
}

function operationMessage(found: FoundOperation): MessageInitShape<typeof OperationSchema> {
  const { slug, path, method, description } = found;
  const { name, scopes, deprecated, operationId } = knownOf(found);
  return {
    ...{ slug, method, path, name, deprecated },
    actionIdentifier: actionIdentifierOf(slug, { method, path, operationId }),
    ...(description !== null && { description }),
    ...(scopes.length > 0 && { scope: scopes.join(" ") }),
  };
}

function knownOf({
  slug,
  path,
  method,
  name,
  scopes,
  deprecated,
  operationId,
}: FoundOperation): Omit<Endpoint, "path" | "method"> {
  if (name !== null && scopes !== null && deprecated !== null) {
    return { name, scopes, deprecated, operationId: operationId ?? undefined };
  }
  const shipped = shippedDescription(slug)?.endpoints.find(
    (one) => one.path === path && one.method === method,
  );
  return shipped ?? { name: `${method} ${path}`, scopes: [], deprecated: false, operationId: undefined };
}

function placeOf(token: string): FoundPlace | undefined {
  const place = placeOfToken(token, [4]);
  if (place === undefined) return undefined;
  const [rank, slug = "", path = "", method = ""] = place;
  if (!Number.isFinite(Number(rank))) throw new InvalidPageToken();
  return { rank: Number(rank), slug, path, method };
}
