import type { JsonObject } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  EndpointSchema,
  ListOperationsResponseSchema,
  ListServicesResponseSchema,
  ServiceSchema,
  type Endpoint,
  type Operation,
  type OutputDrift,
  type PatchbayClient,
  type Service,
} from "#src/client/node.ts";
import { present } from "#src/platform/present.ts";
import { printable, printJson } from "./print.ts";
import type { SearchFlags } from "./catalog-commands.ts";
import { ask } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { table } from "./table.ts";

/** Prints the connected services, in order of their slugs. */
export async function listServices(flags: Shown): Promise<void> {
  const withoutEndpoints = flags.json !== true;
  const catalog = await ask(flags, (client) => allServices(client, withoutEndpoints));
  if (flags.json) return printJson(ListServicesResponseSchema, { catalog });
  const rows = catalog.map(({ slug, name, endpointCount, baseUrl }) => [
    slug,
    name,
    String(endpointCount),
    baseUrl,
  ]);
  process.stdout.write(table(["SLUG", "NAME", "OPERATIONS", "BASE URL"], rows));
}

/** Prints the operations of a service, or one operation with its schemas. */
export async function show(wanted: string, flags: Shown): Promise<void> {
  const slug = wanted.split("/", 1)[0] ?? "";
  const service = await ask(flags, (client) => serviceOf(client, slug));
  if (slug === wanted) return showService(service, flags);
  const endpoint = service.endpoints.find(
    ({ actionIdentifier, method, path }) =>
      actionIdentifier === wanted || `${slug}/${method} ${path}` === wanted,
  );
  if (endpoint === undefined)
    throw new Error(`no operation ${wanted}; patchbay catalog show ${slug} lists those there are`);
  showEndpoint(endpoint, flags);
}

/** Prints the operations that fit best. */
export async function search(q: string, flags: Shown & SearchFlags): Promise<void> {
  const { slug = "", method = "", scope = "" } = flags;
  const answer = await ask(flags, ({ catalog }) =>
    catalog.listOperations({ q, slug, method: method.toUpperCase(), scope }),
  );
  if (flags.json) return printJson(ListOperationsResponseSchema, answer);
  process.stdout.write(operationsTable(answer.operations));
  if (answer.nextPageToken !== undefined)
    process.stderr.write("patchbay: there are more; search for more words, or one service with --slug\n");
}

/** Prints TypeScript types of the service's operations. */
export async function printTypes(slug: string, flags: Shown): Promise<void> {
  const { endpoints } = await ask(flags, (client) => serviceOf(client, slug));
  if (endpoints.length === 0) {
    throw new Error(`no operations of ${slug} are known; patchbay catalog import takes its OpenAPI document`);
  }
  // Its library takes longer to load than all the rest of the command.
  const { operationTypes } = await import("./operation-types.ts");
  const types = await operationTypes(endpoints);
  process.stdout.write(
    `// What is called at ${slug}, from: patchbay catalog types --slug ${slug}\n\n${types}`,
  );
}

function showService(service: Service, flags: Shown): void {
  if (flags.json) return printJson(ServiceSchema, service);
  process.stdout.write(operationsTable(service.endpoints));
}

function operationsTable(operations: readonly (Endpoint | Operation)[]): string {
  const rows = operations.map(({ actionIdentifier, method, path, scope = "-", name, deprecated }) => [
    actionIdentifier,
    `${method} ${path}`,
    scope,
    deprecated ? `${name} (deprecated)` : name,
  ]);
  return table(["ACTION", "ENDPOINT", "SCOPE", "NAME"], rows);
}

function showEndpoint(endpoint: Endpoint, flags: Shown): void {
  if (flags.json) return printJson(EndpointSchema, endpoint);
  const facts = present({
    action: endpoint.actionIdentifier,
    endpoint: `${endpoint.method} ${endpoint.path}`,
    name: endpoint.deprecated ? `${endpoint.name} (deprecated)` : endpoint.name,
    scope: endpoint.scope,
    body: endpoint.contentType,
    answers: endpoint.drift && driftText(endpoint.drift),
  });
  const lines = Object.entries(facts).map(([label, fact]) => `${label.padEnd(10)}${printable(fact)}\n`);
  const about = endpoint.description === undefined ? "" : `\n${linesOf(endpoint.description)}\n`;
  const schemas = [
    ["parameters", endpoint.parametersSchema],
    ["body", endpoint.inputSchema],
    ["answer", endpoint.outputSchema],
  ] as const;
  const texts = schemas.map(([what, schema]) => schemaText(what, schema));
  process.stdout.write([...lines, about, ...texts].join(""));
}

function driftText({ checked, unfit, lastUnfitAt, lastProblem }: OutputDrift): string {
  if (lastUnfitAt === undefined) return `all ${checked} that were compared fitted`;
  const last = timestampDate(lastUnfitAt).toISOString();
  return `${unfit} of ${checked} did not fit, the last at ${last}: ${lastProblem ?? ""}`;
}

function schemaText(what: string, schema: JsonObject | undefined): string {
  return schema === undefined ? "" : `\n${what}:\n${linesOf(JSON.stringify(schema, null, 2))}\n`;
}

function linesOf(text: string): string {
  return text.trim().split(/\r?\n/).map(printable).join("\n");
}

/** A service that goes on on the next page is there again, with further endpoints. */
async function allServices({ catalog }: PatchbayClient, withoutEndpoints: boolean): Promise<Service[]> {
  const found: Service[] = [];
  for (let pageToken: string | undefined = ""; pageToken !== undefined;) {
    const page = await catalog.listServices({ pageToken, withoutEndpoints });
    for (const service of page.catalog) {
      const last = found.at(-1);
      if (last?.slug === service.slug) last.endpoints.push(...service.endpoints);
      else found.push(service);
    }
    pageToken = page.nextPageToken;
  }
  return found;
}

async function serviceOf({ catalog }: PatchbayClient, slug: string): Promise<Service> {
  const { service, nextPageToken } = await catalog.getService({ slug });
  if (service === undefined) throw new Error(`no service ${slug} is connected`);
  for (let pageToken = nextPageToken; pageToken !== undefined;) {
    const page = await catalog.getService({ slug, pageToken });
    service.endpoints.push(...(page.service?.endpoints ?? []));
    pageToken = page.nextPageToken;
  }
  return service;
}
