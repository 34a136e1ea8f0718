import type { NamedConnection } from "#src/connections/store.ts";
import type { Tx } from "#src/db/database.ts";
import { shippedDescription } from "#src/operations/shipped.ts";
import { getSummary, listInForce, type ImportSummary } from "#src/operations/store.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Inside, Place } from "./service-page.ts";

/** A connected service, before its endpoints are read. */
export interface ConnectedService {
  readonly connection: NamedConnection;
  /** For people. */
  readonly name: string;
  readonly endpointCount: number;
  /** Undefined for what comes with Patchbay, if anything does. An object of its own for each connection. */
  readonly imported: ImportSummary | undefined;
  /** Behind which of its endpoints the page begins; undefined if with the first. */
  readonly inside: Inside | undefined;
}

/** The list goes on with an import that was deleted since. */
class ImportGone extends InvalidRequest {
  constructor() {
    super(
      "pageToken: the import that it goes on with is no longer kept; leave it out to start from the beginning",
    );
  }
}

/**
 * The services of the connections, with what is in force of them. One that the previous page ended inside goes on with
 * what was in force then, or else its pages would have a part of one import and a part of another.
 */
export async function connectedTo(
  tx: Tx,
  orgId: string,
  connections: readonly NamedConnection[],
  place: Place | undefined,
): Promise<ConnectedService[]> {
  const slugs = connections.map(({ integration }) => integration);
  const inForce = new Map((await listInForce(tx, orgId, slugs)).map((one) => [one.slug, one]));
  const services: ConnectedService[] = [];
  for (const connection of connections) {
    const { slug, integration } = connection;
    // It is another one if that was disconnected since.
    const inside = slug === place?.after ? place.inside : undefined;
    const imported =
      inside === undefined
        ? inForce.get(integration)
        : await importOf(tx, orgId, { slug: integration, revision: inside.revision });
    services.push(serviceOf(connection, imported && { ...imported }, inside));
  }
  return services;
}

async function importOf(tx: Tx, orgId: string, of: { slug: string; revision: number }) {
  if (of.revision === 0) return undefined;
  const found = await getSummary(tx, orgId, of);
  if (found === undefined) throw new ImportGone();
  return found;
}

function serviceOf(
  connection: NamedConnection,
  imported: ImportSummary | undefined,
  inside: Inside | undefined,
): ConnectedService {
  const shipped = shippedDescription(connection.integration);
  return {
    connection,
    name: imported?.name ?? shipped?.name ?? connection.slug.replace(/^custom:/, ""),
    endpointCount: imported?.operations ?? shipped?.endpoints.length ?? 0,
    ...{ imported, inside },
  };
}
