import { listBySlug, type NamedConnection } from "#src/connections/store.ts";
import type { Tx } from "#src/db/database.ts";
import {
  readDrift,
  readEndpoints,
  type EndpointPage,
  type EndpointPlace,
  type StoredEndpoint,
} from "#src/operations/endpoint-store.ts";
import { selfContained } from "#src/operations/self-contained.ts";
import { shippedContract, shippedDescription, shippedOperations } from "#src/operations/shipped.ts";
import { listInForce } from "#src/operations/store.ts";
import type { Caller } from "#src/platform/caller.ts";
import type { Offered } from "./endpoint-message.ts";
import { pageLimits, type Offer, type Place } from "./service-page.ts";

/** Which services are asked for. */
export interface Wanted {
  /** Where the previous page ended. */
  readonly after: Place | undefined;
  readonly only: string | undefined;
  /** How many services at most. */
  readonly limit: number;
}

/** What the caller's services offer, as much as can be on a page, and whether there are more services. */
export async function readOffers(
  tx: Tx,
  caller: Caller,
  wanted: Wanted,
): Promise<{ offers: Offer[]; hasMore: boolean }> {
  const { only, limit } = wanted;
  const [after = "", path, method = ""] = wanted.after ?? [];
  const inside = path === undefined ? undefined : { slug: after, path, method };
  const range = { after, isIncluded: inside !== undefined, only, limit: limit + 1 };
  const found = await listBySlug(tx, caller, range);
  const connections = found.slice(0, limit);
  const { orgId } = caller;
  const integrations = connections.map(({ integration }) => integration);
  const imported = new Map(
    (await listInForce(tx, orgId, integrations)).map(({ slug, name }) => [slug, name]),
  );
  const withImport = connections.filter(({ integration }) => imported.has(integration));
  // The place is inside the first service, unless that was disconnected since.
  const placeIn = ({ slug }: NamedConnection) => (slug === inside?.slug ? inside : undefined);
  const [first] = withImport;
  const page = await readEndpoints(
    tx,
    orgId,
    withImport.map(({ integration }) => integration),
    first && placeIn(first),
    // One more than a page holds shows whether there are more.
    { ...pageLimits, endpoints: pageLimits.endpoints + 1 },
  );
  const offers = connections.map((connection) => {
    const name = imported.get(connection.integration);
    return name === undefined
      ? shippedOffer(connection, placeIn(connection))
      : storedOffer(connection, name, page, withImport.indexOf(connection) + 1);
  });
  return { offers: await withDrift(tx, orgId, offers), hasMore: found.length > limit };
}

type WithoutDrift = Omit<Offer, "driftOf" | "operations"> & { readonly operations: readonly Offered[] };

function storedOffer(
  { slug, baseUrl, integration }: NamedConnection,
  name: string,
  { endpoints, definitions, isCut }: EndpointPage,
  service: number,
): WithoutDrift {
  return {
    ...{ slug, name, baseUrl, integration },
    operations: endpoints.filter((endpoint) => endpoint.service === service).map(offeredFrom),
    isCut: isCut && endpoints.at(-1)?.service === service,
    whole: selfContained(definitions.get(service) ?? new Map()),
  };
}

function offeredFrom(endpoint: StoredEndpoint): Offered {
  return {
    ...endpoint,
    operationId: endpoint.operationId ?? undefined,
    description: endpoint.description ?? undefined,
    body: endpoint.body ?? undefined,
    inputSchema: endpoint.inputSchema ?? undefined,
    outputSchema: endpoint.outputSchema ?? undefined,
  };
}

/** What comes with Patchbay, and nothing of a service that it does not know. */
function shippedOffer(
  { slug, baseUrl, integration }: NamedConnection,
  after: EndpointPlace | undefined,
): WithoutDrift {
  const service = shippedDescription(integration);
  const definitions = new Map<string, string>();
  const behind = shippedOperations(integration).filter((operation) => isBehind(operation, after));
  const operations = behind.flatMap((operation): Offered[] => {
    const contract = shippedContract(integration, operation);
    if (contract === undefined) return [];
    for (const [name, schema] of contract.definitions) definitions.set(name, schema);
    return [{ ...operation, inputSchema: contract.inputSchema, outputSchema: contract.outputSchema }];
  });
  const name = service?.name ?? slug.replace(/^custom:/, "");
  return {
    ...{ slug, name, baseUrl, integration, operations },
    isCut: false,
    whole: selfContained(definitions),
  };
}

function isBehind({ path, method }: EndpointPlace, after: EndpointPlace | undefined): boolean {
  if (after === undefined || path > after.path) return true;
  return path === after.path && method > after.method;
}

async function withDrift(tx: Tx, orgId: string, offers: readonly WithoutDrift[]): Promise<Offer[]> {
  const places = offers.flatMap(({ integration: slug, operations }) =>
    operations.map(({ path, method }) => ({ slug, path, method })),
  );
  const rows = places.length === 0 ? [] : await readDrift(tx, orgId, places);
  const nameOf = (slug: string, { path, method }: EndpointPlace) => `${slug} ${method} ${path}`;
  const known = new Map(rows.map((row) => [nameOf(row.slug, row), row]));
  return offers.map((offer) => ({
    ...offer,
    driftOf: (operation) => known.get(nameOf(offer.integration, operation)),
  }));
}
