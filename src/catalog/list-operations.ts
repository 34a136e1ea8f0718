import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { OperationSchema } from "#gen/patchbay/catalog/v1/catalog_pb.js";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { connectedServices } from "#src/connections/store.ts";
import type { Database, Tx } from "#src/db/database.ts";
import {
  searchOperations,
  type FoundOperation,
  type FoundPlace,
  type ShippedOperation,
} from "#src/operations/search-store.ts";
import { shippedOperations } from "#src/operations/shipped.ts";
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
  const connected = [...(await connectedServices(tx, caller, slug === "" ? undefined : [slug]))];
  const services = (await listInForce(tx, caller.orgId, connected)).map((one) => one.slug);
  const shipped = connected
    .filter((one) => !services.includes(one))
    .flatMap((one) =>
      shippedOperations(one).map((operation): ShippedOperation => ({ ...operation, slug: one })),
    );
  return { services, shipped };
}

function operationMessage(found: FoundOperation): MessageInitShape<typeof OperationSchema> {
  const { slug, path, method, name, description, deprecated, scopes } = found;
  return {
    ...{ slug, method, path, name, deprecated },
    actionIdentifier: actionIdentifierOf(slug, found),
    ...(description !== undefined && { description }),
    ...(scopes.length > 0 && { scope: scopes.join(" ") }),
  };
}

function placeOf(token: string): FoundPlace | undefined {
  const place = placeOfToken(token, [4]);
  if (place === undefined) return undefined;
  const [text, slug = "", path = "", method = ""] = place;
  const rank = Number(text);
  // No rank is beyond these, and a number may be beyond what Postgres takes for one.
  if (rank !== 0 && !(rank > 1e-30 && rank < 1e6)) throw new InvalidPageToken();
  return { rank, slug, path, method };
}
