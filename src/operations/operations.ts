import { LRUCache } from "lru-cache";
import type { Database } from "#src/db/database.ts";
import { createRecent } from "#src/db/recent.ts";
import type { OperationContract } from "./operation.ts";
import type { Endpoint, ServiceDescription } from "./service-description.ts";
import { shippedContract, shippedDescription } from "./shipped.ts";
import { getInForce, readContract, readDescription, type InForce } from "./store.ts";

/** Knows what the services of an organisation offer. */
export interface Operations {
  /**
   * What the organisation has imported of the service, or what comes with Patchbay; undefined if there is neither. A
   * change is seen as soon as it is announced, and after 5 s at the latest.
   */
  readonly describe: Describe;
  /** What an operation is called with. Undefined if its import is gone since it was described. */
  contractOf(
    orgId: string,
    slug: string,
    service: ServiceDescription,
    endpoint: Endpoint,
  ): Promise<OperationContract | undefined>;
}

/** What is known of a service of the organisation. */
export type Describe = (orgId: string, slug: string) => Promise<ServiceDescription | undefined>;

const maxDescriptionBytes = 64 * 1024 * 1024;
const maxContractBytes = 32 * 1024 * 1024;

/** Creates the one place that says what services offer. */
export async function createOperations(parts: {
  database: Database;
  monotonicNow: () => number;
}): Promise<Operations> {
  const { database, monotonicNow } = parts;
  const inForce = await createRecent<InForce & { readonly orgId: string }>({
    database,
    kinds: ["catalog"],
    dependsOn: ({ orgId, slug }) => [`catalog/${orgId}/${slug}`],
    monotonicNow,
  });
  // An import does not change, so it is good for as long as there is room.
  const descriptions = new LRUCache<string, ServiceDescription>({
    maxSize: maxDescriptionBytes,
    sizeCalculation: bytesOfDescription,
  });
  const contracts = new LRUCache<string, OperationContract>({
    maxSize: maxContractBytes,
    sizeCalculation: bytesOfContract,
  });

  async function askInForce(orgId: string, slug: string) {
    const asked = inForce.moment();
    const found = await database.read(orgId, (tx) => getInForce(tx, orgId, slug));
    const answer = { orgId, slug, revision: found?.revision ?? 0 };
    inForce.remember(`${orgId}/${slug}`, answer, asked);
    return answer;
  }

  async function describe(orgId: string, slug: string): Promise<ServiceDescription | undefined> {
    const id = `${orgId}/${slug}`;
    const current = inForce.recall(id) ?? (await inForce.askOnce(id, () => askInForce(orgId, slug)));
    if (current === undefined || current.revision === 0) return shippedDescription(slug);
    const known = descriptions.get(`${id}/${current.revision}`);
    if (known !== undefined) return known;
    const read = await database.read(orgId, (tx) => readDescription(tx, orgId, current));
    if (read !== undefined) descriptions.set(`${id}/${current.revision}`, read);
    return read;
  }

  return {
    describe,
    async contractOf(orgId, slug, { revision }, endpoint) {
      // What comes with Patchbay is the same for all.
      const id = `${revision === 0 ? "" : orgId}/${slug}/${revision}/${endpoint.method} ${endpoint.path}`;
      const known = contracts.get(id);
      if (known !== undefined) return known;
      const read =
        revision === 0
          ? shippedContract(slug, endpoint)
          : await database.read(orgId, (tx) => readContract(tx, orgId, { slug, revision }, endpoint));
      if (read !== undefined) contracts.set(id, read);
      // Whoever asks again for what is in force is to be told, and not what is remembered.
      else inForce.forget(`${orgId}/${slug}`);
      return read;
    },
  };
}

/** Roughly, as both are only to bound what is remembered. What a document may make long is counted. */
function bytesOfDescription({ endpoints }: ServiceDescription): number {
  const texts = ({ path, name, operationId = "", scopes }: Endpoint) => [path, name, operationId, ...scopes];
  return endpoints.reduce((sum, one) => sum + 300 + lengthOf(texts(one)), 1024);
}

function bytesOfContract(contract: OperationContract): number {
  const { parameters, body = null, inputSchema = "", outputSchema = "", definitions } = contract;
  // Kept as objects, which take several times as much as their text.
  const objects = 4 * lengthOf([JSON.stringify(parameters), JSON.stringify(body)]);
  return 1024 + 2 * (objects + lengthOf([inputSchema, outputSchema, ...definitions.values()]));
}

function lengthOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + text.length, 0);
}
