import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
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

const key = (name: string) => ({ type: "apiKey", in: "header", name });
const document = (url: string, securitySchemes: object, limit: object = {}) => ({
  openapi: "3.1.0",
  info: { title: "Bank", version: "1" },
  servers: [{ url }],
  security: [{ client: [], secret: [] }],
  paths: {
    "/accounts": {
      get: {
        operationId: "list",
        parameters: [{ name: "limit", in: "query", schema: { type: "integer" }, ...limit }],
        responses: { 200: { description: "ok" } },
      },
    },
  },
  components: { securitySchemes },
});

async function importing(slug: string, given: object) {
  const source = { case: "document", value: new TextEncoder().encode(JSON.stringify(given)) } as const;
  const { diff, problems } = await service.org.client.catalog.importOpenApi({ slug, source });
  return { diff, problems };
}

const integration = async (slug: string) =>
  (await service.org.client.integrations.getIntegration({ slug })).integration;

test("a document says where the service is and how one signs in, and calls by its operations do both", async () => {
  const slug = "custom:bank";
  const schemes = {
    client: key("X-Client"),
    secret: key("X-Secret"),
    old: { type: "http", scheme: "digest" },
  };
  const { problems } = await importing(slug, document(`${upstream.url}/v1`, schemes));
  expect(problems).toMatchObject([{ pointer: "/components/securitySchemes/old" }]);
  const { client } = service.org;
  const { connection } = await client.connections.createConnection({
    ...{ integration: slug, authMethod: "client-secret" },
    credentials: { client: "c-1", secret: "s-1" },
  });
  const actionIdentifier = `${slug}/list`;
  await client.connections.callAction({
    actionIdentifier,
    connection: { case: "connectionId", value: connection?.id ?? "" },
    input: { query: { limit: 5 } },
  });
  expect(upstream.asked.at(-1)).toMatchObject({
    ...{ method: "GET", url: "/v1/accounts?limit=5" },
    headers: { "x-client": "c-1", "x-secret": "s-1" },
  });
});

test("the next document changes what the previous one gave, and not what a person changed", async () => {
  const slug = "custom:kept";
  await importing(
    slug,
    document("https://bank.example", { client: key("X-Client"), secret: key("X-Secret") }),
  );
  const { body } = await service.org.rest("GET", `/api/integrations/${slug}`);
  const { integration: given } = body.data as { integration: { baseUrl: string; authMethods: object[] } };
  const { baseUrl, authMethods } = given;
  const changed = { name: "Our bank", baseUrl, authMethods };
  expect((await service.org.rest("PUT", `/api/integrations/${slug}`, changed)).status).toBe(200);
  const schemes = { client: key("X-Client"), secret: key("X-Key") };
  const { diff } = await importing(slug, document("https://new.example", schemes, { required: true }));
  expect(diff).toMatchObject({
    breaking: true,
    changed: [
      { operation: "GET /accounts", breaking: true, what: ['query parameter "limit" is required now'] },
    ],
    definition: [
      "the base URL is https://new.example now, and was https://bank.example",
      "the auth method client-secret is another now",
      'the name stays "Our bank"; the document says "Bank"',
    ],
  });
  expect(await integration(slug)).toMatchObject({
    name: "Our bank",
    baseUrl: "https://new.example",
    version: 3,
  });
});

test("what a document gave is replaced by the next one, though none was in force meanwhile", async () => {
  const slug = "custom:between";
  const schemes = { client: key("X-Client"), secret: key("X-Secret") };
  await importing(slug, document("https://bank.example", schemes));
  await service.org.client.catalog.activateRevision({ slug, revision: 0 });
  const { diff } = await importing(slug, document("https://new.example", schemes));
  expect(diff?.definition).toEqual(["the base URL is https://new.example now, and was https://bank.example"]);
  const { events } = await service.org.client.audit.listAuditEvents({ target: slug });
  expect(events[0]).toMatchObject({
    action: "integration.import",
    details: {
      integration: {
        version: { before: 1, after: 2 },
        baseUrl: { before: "https://bank.example", after: "https://new.example" },
        authMethods: ["client-secret"],
      },
    },
  });
});
