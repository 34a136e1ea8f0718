import { expect, test } from "vitest";
import { describeService } from "#src/integrations/siblings.ts";
import { builtInSlugs } from "#src/integrations/slug.ts";
import { startService } from "../support/service.ts";

test("the catalog answers connected services only, in the requirement's shape", async () => {
  await using service = await startService();
  expect((await service.org.rest("GET", "/api/catalog/services")).body).toStrictEqual({
    data: { catalog: [] },
  });
  for (const serviceSlug of ["identity", "custom:core-banking"]) {
    await service.org.client.connections.upsertServiceConnection({
      serviceSlug,
      baseUrl: "https://service.example",
      apiKey: "k",
    });
  }
  const { body } = await service.org.rest("GET", "/api/catalog/services");
  expect(body.data.catalog).toMatchObject([
    { slug: "custom:core-banking", name: "core-banking", baseUrl: "https://service.example", endpoints: [] },
    { slug: "identity", name: "Identity Platform", baseUrl: "https://service.example" },
  ]);
  const capture = body.data.catalog[1].endpoints.find(
    (endpoint: { path: string }) => endpoint.path === "/api/identity/document/ktp/capture",
  );
  expect(capture).toStrictEqual({
    method: "POST",
    path: "/api/identity/document/ktp/capture",
    name: "KTP capture",
    scope: "verifications:view",
    inputSchema: expect.objectContaining({ type: "object", required: ["image"] }) as object,
    outputSchema: expect.objectContaining({ type: "object" }) as object,
  });
  const other = await service.newOrganization("globex");
  expect((await other.rest("GET", "/api/catalog/services")).body.data.catalog).toStrictEqual([]);
});

test("every sibling comes with a document, whose schemas are whole in themselves", () => {
  const described = builtInSlugs.map((slug) => describeService(slug));
  expect(described).not.toContain(undefined);
  expect(JSON.stringify(described)).not.toContain("$ref");
  const aml = describeService("aml")!.endpoints.map(({ method, path }) => `${method} ${path}`);
  expect(aml).toContain("POST /api/sar-filings/{id}/submit");
});
