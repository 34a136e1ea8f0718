import { openConnection, type Connection } from "#src/db/connection.ts";
import { findEndpoint } from "#src/operations/find-endpoint.ts";
import type { ServiceDescription } from "#src/operations/service-description.ts";
import { storeImport, type GivenOperation } from "../support/imports.ts";
import { presenter, type Presenter } from "../support/service.ts";
import type { Options } from "./options.ts";
import { startBenchPostgres } from "./patchbay.ts";

const services = 10;
const endpointsEach = 1_000;
const definitionsEach = 200;
const kinds = ["user", "invoice", "report", "order", "ticket"];
const queries = ["q=user", "q=create%20invoice", "q=nothing", "method=POST&scope=s7", "q=order%20731"];

/** What it costs to list, and to search, the catalog of ten large services, in a service beside others' calls. */
export async function run({ rounds }: Pick<Options, "rounds">): Promise<object> {
  await using postgres = await startBenchPostgres();
  const { apiKey, databaseUrl, start } = await postgres.found("catalog");
  await using owner = openConnection(databaseUrl, {});
  await using patchbay = await start();
  const caller = presenter(`http://127.0.0.1:${patchbay.port}`, apiKey);
  await fill(owner, caller);
  await walk(caller);

  const idle = await during(caller, () => new Promise((resolve) => setTimeout(resolve, 1_000)));
  const before = await patchbay.peakMemory();
  const cpuBefore = await patchbay.cpu();
  const pages: Page[] = [];
  const beside = await during(caller, async () => {
    for (let round = 0; round < rounds; round++) pages.push(...(await walk(caller)));
  });
  const cpu = (await patchbay.cpu()) - cpuBefore;
  const searchMs: Record<string, object> = {};
  for (const query of queries) searchMs[query] = figuresOf(await timesOf(caller, query));
  return {
    list: {
      pages: pages.length / rounds,
      mebibytes: round(sum(pages.map(({ bytes }) => bytes)) / rounds / 1024 / 1024),
      largestPageMib: round(Math.max(...pages.map(({ bytes }) => bytes)) / 1024 / 1024),
      pageMs: figuresOf(pages.map(({ ms }) => ms)),
      cpuMsEach: round(cpu / 1_000 / pages.length),
      peakGrowthMib: round(((await patchbay.peakMemory()) - before) / 1024 / 1024),
    },
    neighbourMs: { idle: figuresOf(idle), beside: figuresOf(beside) },
    searchMs,
    findEndpointMicroseconds: findTime(),
  };
}

async function fill(owner: Connection, { client }: Presenter): Promise<void> {
  const [org] = await owner.run("select id from orgs");
  const orgId = String(org?.["id"]);
  const asOwner = owner.run.bind(owner);
  for (let n = 0; n < services; n++) {
    const serviceSlug = `custom:service-${n}`;
    await client.connections.upsertServiceConnection({
      serviceSlug,
      baseUrl: "http://127.0.0.1:9",
      apiKey: "k",
    });
    await storeImport(
      { asOwner },
      { orgId, slug: serviceSlug, operations: operations(endpointsEach), definitions },
    );
  }
  // Without schemas: most pages end by their number of endpoints, others by the bytes.
  for (let n = 0; n < 8; n++) {
    const serviceSlug = `custom:more-${n}`;
    await client.connections.upsertServiceConnection({
      serviceSlug,
      baseUrl: "http://127.0.0.1:9",
      apiKey: "k",
    });
    await storeImport({ asOwner }, { orgId, slug: serviceSlug, operations: operations(5_000, false) });
  }
  await owner.run("analyze");
}

/** A chain of ten leads on from each. */
const definitions = Object.fromEntries(
  Array.from({ length: definitionsEach }, (_, n) => [
    `Type${n}`,
    {
      type: "object",
      description: "What is said of it in a sentence or two, as most documents do, more or less.",
      properties: {
        id: { type: "string", format: "uuid" },
        ...(n % 10 < 9 && { next: { $ref: `#/$defs/Type${n + 1}` } }),
      },
    },
  ]),
);

function operations(count: number, hasSchemas = true): GivenOperation[] {
  return Array.from({ length: count }, (_, n) => {
    const kind = kinds[n % kinds.length] ?? "";
    const schema = { $ref: `#/$defs/Type${n % definitionsEach}` };
    const chain = Array.from({ length: 10 - (n % 10) }, (__, at) => `Type${(n % definitionsEach) + at}`);
    return {
      method: n % 2 === 0 ? "GET" : "POST",
      path: `/v1/${kind}s/{id}/part${n}`,
      operationId: `${n % 2 === 0 ? "list" : "create"}${kind}${n}`,
      description: "What is said of it in a sentence or two, as most documents do, more or less.",
      scopes: [`s${n % 100}`],
      ...(hasSchemas
        ? { inputSchema: schema, outputSchema: { type: "array", items: schema }, definitionNames: chain }
        : { definitionNames: [] }),
    };
  });
}

interface Page {
  readonly bytes: number;
  readonly ms: number;
}

/** Lists all services, page by page. */
async function walk({ rest }: Presenter): Promise<Page[]> {
  const pages: Page[] = [];
  let token: string | undefined = "";
  while (token !== undefined) {
    const began = performance.now();
    const { headers, body } = await rest("GET", `/api/catalog/services?pageToken=${token}`, undefined, {
      "accept-encoding": "identity",
    });
    pages.push({ ms: performance.now() - began, bytes: Number(headers.get("content-length")) });
    token = body.data.nextPageToken;
  }
  return pages;
}

/** How long a neighbour's calls take meanwhile. */
async function during({ rest }: Presenter, work: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  const over = new AbortController();
  const working = work().finally(() => over.abort());
  while (!over.signal.aborted) {
    const began = performance.now();
    await rest("GET", "/api/auth/me");
    times.push(performance.now() - began);
  }
  await working;
  return times;
}

async function timesOf({ rest }: Presenter, query: string): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < 20; n++) {
    const began = performance.now();
    await rest("GET", `/api/operations?${query}`);
    times.push(performance.now() - began);
  }
  return times;
}

function findTime(): number {
  const endpoints = operations(5_000).map((one) => ({
    ...{ method: one.method, path: one.path, name: "" },
    ...{ operationId: undefined, scopes: [], deprecated: false },
  }));
  const service: ServiceDescription = { name: "large", revision: 1, endpoints };
  findEndpoint(service, { method: "GET", path: "/" });
  const began = performance.now();
  for (const { method, path } of endpoints) findEndpoint(service, { method, path });
  return round(((performance.now() - began) * 1_000) / endpoints.length);
}

function figuresOf(times: readonly number[]) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => round(sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN);
  return { p50: at(0.5), p99: at(0.99), slowest: at(1) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function round(number: number): number {
  return Math.round(number * 10) / 10;
}
