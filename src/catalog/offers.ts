import { listBySlug } from "#src/connections/store.ts";
import type { Tx } from "#src/db/database.ts";
import {
  readDrift,
  readEndpoints,
  type EndpointPage,
  type EndpointPlace,
  type StoredEndpoint,
} from "#src/operations/endpoint-store.ts";
import { selfContained } from "#src/operations/self-contained.ts";
import { shippedContract, shippedOperations } from "#src/operations/shipped.ts";
import type { BodyForm, Parameter } from "#src/operations/operation.ts";
import type { Caller } from "#src/platform/caller.ts";
import { connectedTo, type ConnectedService } from "./connected-service.ts";
import type { Offered } from "./endpoint-message.ts";
import { pageLimits, type Offer, type Place } from "./service-page.ts";

/** Which services are asked for. */
export interface Wanted {
  /** Where the previous page ended. */
  readonly after: Place | undefined;
  readonly only: string | undefined;
  /** How many services at most. */
  readonly limit: number;
  /** Only which services there are. */
  readonly withoutEndpoints: boolean;
}

/** What the caller's services offer, as much as can be on a page, and whether there are more services. */
export async function readOffers(
  tx: Tx,
  caller: Caller,
  wanted: Wanted,
): Promise<{ offers: Offer[]; hasMore: boolean }> {
  const { orgId } = caller;
  const { after = "", inside } = wanted.after ?? {};
  const range = { after, isIncluded: inside !== undefined, only: wanted.only, limit: wanted.limit + 1 };
  const found = await listBySlug(tx, caller, range);
  const services = await connectedTo(tx, orgId, found.slice(0, wanted.limit), wanted.after);
  const hasMore = found.length > services.length;
  if (wanted.withoutEndpoints) return { offers: services.map(emptyOffer), hasMore };
  const imports = services.flatMap(({ imported }) => imported ?? []);
  const page = await readEndpoints(
    tx,
    orgId,
    imports,
    services[0]?.imported && services[0].inside,
    // One more than a page holds shows whether there are more.
    { ...pageLimits, endpoints: pageLimits.endpoints + 1 },
  );
  const offers = services.map((service) =>
    service.imported === undefined
      ? shippedOffer(service)
      : storedOffer(service, page, imports.indexOf(service.imported) + 1),
  );
  return { offers: await withDrift(tx, orgId, offers), hasMore };
}

function emptyOffer(service: ConnectedService): Offer {
  return {
    ...aboutOf(service),
    operations: [],
    isCut: false,
    whole: (schema) => schema,
    driftOf: () => undefined,
  };
}

function aboutOf({ connection, name, endpointCount, imported }: ConnectedService) {
  const { slug, baseUrl, integration } = connection;
  return { slug, name, baseUrl, endpointCount, integration, revision: imported?.revision ?? 0 };
}

type WithoutDrift = Omit<Offer, "driftOf"> & { readonly places: readonly EndpointPlace[] };

function storedOffer(
  service: ConnectedService,
  { endpoints, definitions, isCut }: EndpointPage,
  number: number,
): WithoutDrift {
  const own = endpoints.filter((endpoint) => endpoint.service === number);
  return {
    ...aboutOf(service),
    places: own,
    operations: offered(own),
    isCut: isCut && endpoints.at(-1)?.service === number,
    whole: selfContained(definitions.get(number) ?? new Map()),
  };
}

function* offered(endpoints: readonly StoredEndpoint[]): Generator<Offered> {
  for (const {
    operationId,
    description,
    parameters,
    body,
    inputSchema,
    outputSchema,
    ...rest
  } of endpoints) {
    yield {
      ...rest,
      operationId: operationId ?? undefined,
      description: description ?? undefined,
      parameters: JSON.parse(parameters) as readonly Parameter[],
      body: body === null ? undefined : (JSON.parse(body) as BodyForm),
      inputSchema: inputSchema ?? undefined,
      outputSchema: outputSchema ?? undefined,
    };
  }
}

/** What comes with Patchbay, and nothing of a service that it does not know. */
function shippedOffer(service: ConnectedService): WithoutDrift {
  const { integration } = service.connection;
  const definitions = new Map<string, string>();
  const behind = shippedOperations(integration).filter((operation) => isBehind(operation, service.inside));
  const operations = behind.flatMap((operation): Offered[] => {
    const contract = shippedContract(integration, operation);
    if (contract === undefined) return [];
    for (const [name, schema] of contract.definitions) definitions.set(name, schema);
    return [{ ...operation, inputSchema: contract.inputSchema, outputSchema: contract.outputSchema }];
  });
  return {
    ...aboutOf(service),
    ...{ places: operations, operations, isCut: false },
    whole: selfContained(definitions),
  };
}

function isBehind({ path, method }: EndpointPlace, after: EndpointPlace | undefined): boolean {
  if (after === undefined || path > after.path) return true;
  return path === after.path && method > after.method;
}

async function withDrift(tx: Tx, orgId: string, offers: readonly WithoutDrift[]): Promise<Offer[]> {
  const wanted = offers.flatMap(({ integration: slug, places }) =>
    places.map(({ path, method }) => ({ slug, path, method })),
  );
  const rows = wanted.length === 0 ? [] : await readDrift(tx, orgId, wanted);
  const nameOf = (slug: string, { path, method }: EndpointPlace) => `${slug} ${method} ${path}`;
  const known = new Map(rows.map((row) => [nameOf(row.slug, row), row]));
  return offers.map((offer) => ({
    ...offer,
    driftOf: (operation) => known.get(nameOf(offer.integration, operation)),
  }));
}
