import { fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { services } from "#src/client/services.ts";
import { ownDescriptors } from "../support/own-descriptors.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  [service, upstream] = await Promise.all([startService(), startUpstream()]);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

const catalog = () => service.org.client.catalog;
const unary = Object.values(services)
  .flatMap(({ methods }) => methods)
  .filter(({ methodKind }) => methodKind === "unary");

function connect(serviceSlug: string, baseUrl: string, apiKey = "k") {
  return service.org.client.connections.upsertServiceConnection({ serviceSlug, baseUrl, apiKey });
}

test("a service of gRPC is imported as it says of itself, and its methods are called in JSON", async () => {
  // It is itself one.
  const { connection } = await connect("custom:patchbay", service.url, service.org.secret);
  const { imported, revision, diff, problems } = await catalog().importGrpc({ slug: "custom:patchbay" });
  expect({ imported, revision }).toMatchObject({
    imported: true,
    revision: { format: "grpc", source: "grpc", operations: unary.length, inForce: true },
  });
  expect(diff?.added).toContain("POST /patchbay.apikeys.v1.ApiKeyService/WhoAmI");
  expect(problems.map(({ reason }) => reason)).toContainEqual(expect.stringMatching(/ is a stream, /));

  const answer = await service.org.client.connections.callAction({
    actionIdentifier: "custom:patchbay/patchbay.apikeys.v1.ApiKeyService.WhoAmI",
    input: { body: fromJson(ValueSchema, {}) },
  });
  expect(answer.status).toBe(200);
  expect(JSON.stringify(answer)).toContain(service.org.orgId);

  const again = await catalog().importGrpc({ slug: "custom:patchbay" });
  expect(again).toMatchObject({ imported: false, revision: { revision: 1 } });
  const { events } = await service.org.client.audit.listAuditEvents({ target: "custom:patchbay" });
  const imports = events.filter(({ action }) => action === "integration.import");
  expect(imports.map(({ details }) => details)).toMatchObject([{ through: connection?.id }]);
});

test("a descriptor set is imported as it is, as the body of the request", async () => {
  const slug = "custom:described";
  const response = await fetch(`${service.url}/api/integrations/${slug}/import-grpc`, {
    method: "POST",
    headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/octet-stream" },
    body: Buffer.from(ownDescriptors()),
  });
  const { data } = (await response.json()) as { data: object };
  expect([response.status, data]).toMatchObject([200, { imported: true, revision: { format: "grpc" } }]);
  await connect(slug, upstream.url);
  const { catalog: offers } = await catalog().listServices({});
  expect(offers.find((offer) => offer.slug === slug)?.endpoints.length).toBe(unary.length);
});

describe("nothing is imported", () => {
  const reason = (failing: Promise<unknown>) => failing.then(() => "none", reasonOf);

  test("from a service that does not speak HTTP/2, or is not connected", async () => {
    await connect("custom:one", upstream.url);
    expect(await reason(catalog().importGrpc({ slug: "custom:one" }))).toBe("UPSTREAM_UNREACHABLE");
    expect(await reason(catalog().importGrpc({ slug: "custom:two" }))).toBe("NOT_FOUND");
  });

  test("from what is no descriptor set", async () => {
    const value = Buffer.from("openapi: 3.1.0");
    const asking = catalog().importGrpc({ slug: "custom:none", source: { case: "descriptorSet", value } });
    expect(await reason(asking)).toBe("IMPORT_REFUSED");
  });

  test("through a connection of another service, or one that the key may not use", async () => {
    await connect("custom:mine", upstream.url);
    const source = { case: "connection", value: "custom:mine" } as const;
    expect(await reason(catalog().importGrpc({ slug: "custom:yours", source }))).toBe("INVALID_REQUEST");
    const { secret } = await service.org.client.apiKeys.createApiKey({
      name: "w",
      scopes: ["catalog:write"],
    });
    const asking = service.as(secret).client.catalog.importGrpc({ slug: "custom:mine", source });
    expect(await reason(asking)).toBe("MISSING_SCOPE");
  });
});
