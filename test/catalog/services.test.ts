import { Code } from "@connectrpc/connect";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importOpenApi } from "#src/operations/reader/openapi/openapi.ts";
import { readDocumentFile, realDocuments } from "../operations/documents.ts";
import { storeImport } from "../support/imports.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => void (service = await startService()));
afterAll(() => service[Symbol.asyncDispose]());

const baseUrl = "https://service.example";

async function connect({ client }: Presenter, ...slugs: string[]): Promise<void> {
  for (const serviceSlug of slugs) {
    await client.connections.upsertServiceConnection({ serviceSlug, baseUrl, apiKey: "k" });
  }
}

const userRef = { $ref: "#/$defs/User" };
const definitions = {
  User: {
    type: "object",
    properties: { manager: userRef, name: { $ref: "#/$defs/Name" } },
    required: ["name"],
  },
  Name: { type: "string", minLength: 1 },
  Id: { type: "integer", maximum: 1e30 },
};
const createUser = {
  method: "POST",
  path: "/users/{id}",
  operationId: "createUser",
  name: "Create a user",
  description: "Makes one.",
  scopes: ["users:write", "users:read"],
  deprecated: true,
  parameters: [{ name: "id", in: "path", required: true, schema: { $ref: "#/$defs/Id" } }],
  inputSchema: userRef,
  outputSchema: { type: "array", items: userRef },
} as const;

test("an imported operation is answered whole: each schema carries what it leads to, and nothing else", async () => {
  const org = await service.newOrganization("whole");
  await connect(org, "custom:hr");
  await storeImport(service.postgres, {
    ...{ orgId: org.orgId, slug: "custom:hr", title: "Human Resources", definitions },
    operations: [{ method: "GET", path: "/users" }, createUser],
  });
  await service.postgres.asOwner(
    "insert into operation_drift values ($1, 'custom:hr', '/users/{id}', 'POST', 7, 2, now(), '/name: is missing')",
    [org.orgId],
  );
  const { body } = await org.rest("GET", "/api/catalog/services");
  expect(body).toStrictEqual({
    data: {
      catalog: [
        {
          slug: "custom:hr",
          name: "Human Resources",
          baseUrl,
          endpointCount: 2,
          endpoints: [
            {
              ...{ method: "GET", path: "/users", name: "GET /users" },
              ...{ actionIdentifier: "custom:hr/GET /users", deprecated: false, bodyRequired: false },
            },
            {
              method: "POST",
              path: "/users/{id}",
              name: "Create a user",
              inputSchema: { ...userRef, $defs: { Name: definitions.Name, User: definitions.User } },
              outputSchema: {
                ...createUser.outputSchema,
                $defs: { Name: definitions.Name, User: definitions.User },
              },
              scope: "users:write users:read",
              parametersSchema: {
                type: "object",
                properties: {
                  path: { type: "object", properties: { id: { $ref: "#/$defs/Id" } }, required: ["id"] },
                },
                required: ["path"],
                $defs: { Id: definitions.Id },
              },
              actionIdentifier: "custom:hr/createUser",
              deprecated: true,
              description: "Makes one.",
              contentType: "application/json",
              bodyRequired: true,
              drift: {
                ...{ checked: "7", unfit: "2", lastProblem: "/name: is missing" },
                lastUnfitAt: expect.any(String) as string,
              },
            },
          ],
        },
      ],
    },
  });
  const { catalog } = await org.client.catalog.listServices({});
  const [, endpoint] = catalog[0]?.endpoints ?? [];
  expect(endpoint?.inputSchema).toStrictEqual(body.data.catalog[0].endpoints[1].inputSchema);
  const valid = new Ajv2020().compile(endpoint?.inputSchema ?? {});
  expect([valid({ name: "x", manager: { name: "y" } }), valid({ name: "" })]).toStrictEqual([true, false]);
});

test("a real document is answered with schemas that each compile by themselves, on every protocol alike", async () => {
  const org = await service.newOrganization("documents");
  const { operations, definitions } = importOpenApi(readDocumentFile(realDocuments.ticTacToe));
  await storeImport(service.postgres, {
    ...{ orgId: org.orgId, slug: "custom:game", operations },
    definitions: Object.fromEntries(definitions),
  });
  await connect(org, "custom:game");
  const { body } = await org.rest("GET", "/api/catalog/services/custom:game");
  const { service: inBinary } = await org.client.catalog.getService({ slug: "custom:game" });
  const { endpoints } = body.data.service as { endpoints: Record<string, object | undefined>[] };
  expect(endpoints).toHaveLength(3);
  const ajv = new Ajv2020({ strict: false, logger: false });
  for (const [index, endpoint] of endpoints.entries()) {
    for (const name of ["inputSchema", "outputSchema", "parametersSchema"] as const) {
      expect(inBinary?.endpoints[index]?.[name]).toStrictEqual(endpoint[name]);
      if (endpoint[name] !== undefined) expect(ajv.compile(endpoint[name])).toBeTypeOf("function");
    }
  }
  expect(JSON.stringify(endpoints)).toContain("$defs");
});

describe("a large catalog", () => {
  const big = { type: "string", description: "x".repeat(20_000) };
  let org: Awaited<ReturnType<TestService["newOrganization"]>>;
  const ofCrm = Array.from({ length: 150 }, (_, i) => ({
    method: "GET",
    path: `/${i}`,
    outputSchema: { ...big, title: `${i}` },
  }));
  const ofErp = Array.from({ length: 700 }, (_, i) => ({ method: "GET", path: `/${i}` }));

  beforeAll(async () => {
    org = await service.newOrganization("large");
    await connect(org, "custom:crm", "custom:erp", "custom:none", "aml");
    await storeImport(service.postgres, { orgId: org.orgId, slug: "custom:crm", operations: ofCrm });
    await storeImport(service.postgres, { orgId: org.orgId, slug: "custom:erp", operations: ofErp });
  });

  async function* pagesOf(pageSize: number) {
    let pageToken: string | undefined = "";
    while (pageToken !== undefined) {
      const page = await org.client.catalog.listServices({ pageSize, pageToken });
      yield page;
      pageToken = page.nextPageToken;
    }
  }

  test.each([0, 1, 3])(
    "is answered in pages that are never too long, %i services each: all of it, once and in order",
    async (pageSize) => {
      const seen = new Map<string, string[]>();
      for await (const { catalog } of pagesOf(pageSize)) {
        const endpoints = catalog.flatMap((one) => one.endpoints);
        expect(endpoints.length).toBeLessThanOrEqual(500);
        expect(JSON.stringify(endpoints.map((one) => one.outputSchema ?? {})).length).toBeLessThan(
          2.2 * 1024 * 1024,
        );
        expect(catalog.length).toBeLessThanOrEqual(pageSize || 200);
        for (const one of catalog) {
          const before = seen.get(one.slug) ?? [];
          seen.set(one.slug, [...before, ...one.endpoints.map(({ path, method }) => `${path} ${method}`)]);
        }
      }
      expect([...seen.keys()]).toStrictEqual(["aml", "custom:crm", "custom:erp", "custom:none"]);
      expect(seen.get("aml")).not.toStrictEqual([]);
      expect(seen.get("custom:crm")).toStrictEqual(ofCrm.map(({ path }) => `${path} GET`).toSorted());
      expect(seen.get("custom:erp")).toStrictEqual(ofErp.map(({ path }) => `${path} GET`).toSorted());
      expect(seen.get("custom:none")).toStrictEqual([]);
    },
  );

  test("is answered one service at a time as well, and only by tokens of that service", async () => {
    const first = await org.rest("GET", "/api/catalog/services/custom:erp");
    expect(first.body.data.service.endpoints).toHaveLength(500);
    const { nextPageToken } = first.body.data;
    const second = await org.client.catalog.getService({ slug: "custom:erp", pageToken: nextPageToken });
    expect([second.service?.endpoints.length, second.nextPageToken]).toStrictEqual([200, undefined]);
    const filtered = await org.rest(
      "GET",
      `/api/catalog/services?slug=custom:erp&pageToken=${nextPageToken}`,
    );
    expect(filtered.body.data.catalog[0].endpoints).toHaveLength(200);
    const made = ['["a",1,2,3]', '["custom:crm","/","GET","1e3"]', '["custom:crm","/","GET"]'];
    for (const pageToken of [
      nextPageToken,
      "x",
      ...made.map((one) => Buffer.from(`p1:${one}`).toString("base64url")),
    ]) {
      const asking = org.client.catalog.getService({ slug: "custom:crm", pageToken });
      await expect(asking).rejects.toMatchObject({ code: Code.InvalidArgument });
    }
  });

  test("is not sent again to a caller that has it, and is once anything of it is another", async () => {
    const ask = (tag?: string) =>
      org.rest(
        "GET",
        "/api/catalog/services?slug=custom:erp",
        undefined,
        tag === undefined ? {} : { "if-none-match": tag },
      );
    const { headers } = await ask();
    const tag = headers.get("etag") ?? "";
    expect(await ask(tag)).toMatchObject({ status: 304, body: undefined });
    await storeImport(service.postgres, {
      ...{ orgId: org.orgId, slug: "custom:erp", revision: 2 },
      operations: ofErp.map((one) => ({ ...one, deprecated: one.path === "/10" })),
    });
    const changed = await ask(tag);
    expect(changed.status).toBe(200);
    expect(changed.headers.get("etag")).not.toBe(tag);
  });

  test("goes on with the import that its page began with, whatever is in force by then, as long as that is kept", async () => {
    await storeImport(service.postgres, {
      ...{ orgId: org.orgId, slug: "custom:erp", revision: 3, title: "Three", operations: ofErp },
    });
    const first = await org.client.catalog.getService({ slug: "custom:erp" });
    await storeImport(service.postgres, {
      ...{ orgId: org.orgId, slug: "custom:erp", revision: 4, title: "Four" },
      operations: [{ method: "GET", path: "/0" }, ...ofErp.map(({ path }) => ({ method: "PUT", path }))],
    });
    const pageToken = first.nextPageToken ?? "";
    const second = await org.client.catalog.listServices({ pageToken });
    const seen = [...(first.service?.endpoints ?? []), ...(second.catalog[0]?.endpoints ?? [])];
    expect(seen.map(({ method, path }) => `${path} ${method}`)).toStrictEqual(
      ofErp.map(({ path }) => `${path} GET`).toSorted(),
    );
    expect(second.catalog[0]).toMatchObject({ slug: "custom:erp", name: "Three", endpointCount: 700 });
    await service.postgres.asOwner(
      "delete from catalog_revisions where org_id = $1 and slug = 'custom:erp' and revision = 3",
      [org.orgId],
    );
    await expect(org.client.catalog.listServices({ pageToken })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      message: expect.stringContaining("start from the beginning") as string,
    });
  });

  test("is counted without its endpoints, page by page, and has a tag as well", async () => {
    const all = await org.client.catalog.listServices({ withoutEndpoints: true });
    const shipped = all.catalog[0]?.endpointCount ?? 0;
    expect(shipped).toBeGreaterThan(0);
    expect(all.catalog.map((one) => [one.slug, one.endpoints.length, one.endpointCount])).toStrictEqual([
      ...[["aml", 0, shipped], ["custom:crm", 0, 150], ["custom:erp", 0, 701], ["custom:none", 0, 0]], // prettier-ignore
    ]);
    const { body, headers } = await org.rest("GET", "/api/catalog/services?withoutEndpoints=true&pageSize=3");
    expect(body.data.catalog).toHaveLength(3);
    const pageToken = body.data.nextPageToken as string;
    const rest = await org.client.catalog.listServices({ withoutEndpoints: true, pageToken });
    expect(rest.catalog.map(({ slug }) => slug)).toStrictEqual(["custom:none"]);
    const whole = await org.rest("GET", "/api/catalog/services?pageSize=3");
    expect(whole.headers.get("etag")).not.toBe(headers.get("etag"));
  });
});

test("an import takes the place of what comes with Patchbay, and a connection shows its integration's", async () => {
  const org = await service.newOrganization("presets");
  await connect(org, "aml");
  await org.client.connections.createConnection({
    ...{ integration: "github", serviceSlug: "custom:our-github", authMethod: "token" },
    credentials: { token: "ghp_x" },
  });
  const of = { orgId: org.orgId, operations: [{ method: "GET", path: "/mine", operationId: "mine" }] };
  await storeImport(service.postgres, { ...of, slug: "aml", title: "Our AML" });
  await storeImport(service.postgres, { ...of, slug: "github", title: "GitHub" });
  const { catalog } = await org.client.catalog.listServices({});
  expect(catalog).toMatchObject([
    { slug: "aml", name: "Our AML", endpoints: [{ path: "/mine", actionIdentifier: "aml/mine" }] },
    { slug: "custom:our-github", name: "GitHub", endpoints: [{ actionIdentifier: "github/mine" }] },
  ]);
});

test("a service of another organisation, or that the key may not see, looks like one that is not connected", async () => {
  const org = await service.newOrganization("limited");
  const other = await service.newOrganization("other");
  await connect(org, "aml", "custom:hr");
  await connect(other, "identity");
  const { secret } = await org.client.apiKeys.createApiKey({
    ...{ name: "hr only", scopes: ["catalog:view"], environment: "sandbox" },
    connections: { rights: [{ connection: { case: "slug", value: "custom:hr" } }] },
  });
  const limited = service.as(secret);
  for (const slug of ["aml", "identity", "nonsense"]) {
    const asking = limited.client.catalog.getService({ slug });
    await expect(asking).rejects.toMatchObject({ code: Code.NotFound });
    expect((await limited.client.catalog.listServices({ slug })).catalog).toStrictEqual([]);
  }
  const { catalog } = await limited.client.catalog.listServices({});
  expect(catalog.map(({ slug }) => slug)).toStrictEqual(["custom:hr"]);
});
