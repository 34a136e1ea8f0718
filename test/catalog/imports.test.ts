import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { startService, type Tenant, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/** A document of a bank that has these operations, each named by method and path. */
function bank(...operations: string[]): Uint8Array {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    const [method = "", path = ""] = operation.split(" ");
    (paths[path] ??= {})[method.toLowerCase()] = {
      operationId: operation.replace(/\W+/g, "-"),
      summary: `To ${operation}`,
      responses: { 200: { content: { "application/json": { schema: { type: "object" } } } } },
    };
  }
  const document = { openapi: "3.1.0", info: { title: "Bank", version: "1" }, paths };
  return Buffer.from(JSON.stringify(document));
}

const importing = (slug: string, document: Uint8Array, org: Tenant = service.org) =>
  org.client.catalog.importOpenApi({ slug, source: { case: "document", value: document } });

const connect = (serviceSlug: string, org: Tenant = service.org) =>
  org.client.connections.upsertServiceConnection({ serviceSlug, baseUrl: upstream.url, apiKey: "k" });

async function offered(slug: string, org: Tenant = service.org): Promise<string[]> {
  const { catalog } = await org.client.catalog.listServices({});
  const endpoints = catalog.find((one) => one.slug === slug)?.endpoints ?? [];
  return endpoints.map(({ method, path }) => `${method} ${path}`);
}

const recorded = async (action: string, target: string) =>
  (await service.org.client.audit.listEvents({ target, action })).events;

const reason = (failing: Promise<unknown>) => failing.then(() => "none", reasonOf);

describe("an import", () => {
  test("defines the integration, and its operations are what the service offers", async () => {
    const slug = "custom:bank";
    await connect(slug);
    expect(await offered(slug)).toEqual([]);
    const answer = await importing(slug, bank("GET /accounts", "POST /accounts"));
    expect(answer).toMatchObject({
      imported: true,
      revision: { revision: 1, inForce: true, source: "document", title: "Bank", operations: 2 },
      diff: { added: ["GET /accounts", "POST /accounts"], removed: [], breaking: false },
    });
    expect(answer.revision!.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await offered(slug)).toEqual(["GET /accounts", "POST /accounts"]);
    const { integration } = await service.org.client.integrations.getIntegration({ slug });
    expect(integration).toMatchObject({ name: "Bank", source: "own", version: 1 });
  });
});
