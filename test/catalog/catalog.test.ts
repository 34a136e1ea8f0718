import { validate } from "@scalar/openapi-parser";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { shippedDescription } from "#src/operations/shipped.ts";
import { builtInNames, builtInSlugs } from "#src/integrations/slug.ts";
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
    actionIdentifier: expect.stringMatching("^identity/.") as string,
    deprecated: false,
    contentType: "application/json",
    bodyRequired: expect.any(Boolean) as boolean,
    inputSchema: expect.objectContaining({ type: "object" }) as object,
    outputSchema: expect.objectContaining({ type: "object" }) as object,
  });
  const other = await service.newOrganization("globex");
  expect((await other.rest("GET", "/api/catalog/services")).body.data.catalog).toStrictEqual([]);
});

test("every sibling comes with a document, in order of its paths, whose schemas are whole in themselves", () => {
  const described = builtInSlugs.map((slug) => shippedDescription(slug));
  expect(described.map((one) => one?.name)).toStrictEqual(Object.values(builtInNames));
  expect(JSON.stringify(described)).not.toContain("$ref");
  const said = Object.fromEntries(
    described.map((one) => [
      one?.name,
      one?.endpoints.map(({ method, path, scopes }) => [method, path, ...scopes].join(" ")),
    ]),
  );
  expect(said).toStrictEqual({
    "Identity Platform": [
      "GET /api/auth/me",
      "POST /api/identity/document/ktp/capture verifications:view",
      "POST /api/identity/face/liveness verifications:view",
    ],
    AML: ["POST /api/sar-filings/{id}/submit sar:write"],
    ...{ "Anti-Fraud": [], "Document Intelligence": [], "Bank Statement": [], "AI Automation": [] },
  });
});

test.each(builtInSlugs)("the document of %s is valid OpenAPI 3.1", async (slug) => {
  const text = await readFile(`src/operations/siblings/${slug}.json`, "utf8");
  expect(await validate(text)).toMatchObject({ valid: true, version: "3.1" });
});
