import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { bankDocument as bank } from "../support/bank-document.ts";
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

const catalog = () => service.org.client.catalog;
const dayMs = 24 * 60 * 60 * 1000;

async function connect(serviceSlug: string): Promise<string> {
  const wanted = { serviceSlug, baseUrl: `${upstream.url}/api`, apiKey: "key_4f1d" };
  const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
  return connection!.id;
}

async function keyWith(scopes: string[], more: object = {}) {
  const { secret } = await service.org.client.apiKeys.createApiKey({ name: "k", scopes, ...more });
  return service.as(secret).client.catalog;
}

async function recorded(target: string): Promise<string[]> {
  const { events } = await service.org.client.audit.listAuditEvents({ target });
  return events
    .map(({ action }) => action)
    .filter((action) => action.startsWith("integration."))
    .toReversed();
}

const reason = (failing: Promise<unknown>) => failing.then(() => "none", reasonOf);

describe("a refresh", () => {
  test("fetches the service's own document with its credential, and says how it differs", async () => {
    const slug = "custom:asked";
    await connect(slug);
    upstream.answer({ body: bank("GET /a") });
    const found = await catalog().refreshCatalog({ slug });
    expect(found).toMatchObject({ imported: false, inForce: false, diff: { added: ["GET /a"] } });
    expect(upstream.asked.at(-1)).toMatchObject({ method: "GET", url: "/api/openapi.json" });
    expect(upstream.asked.at(-1)?.headers.authorization).toBe("Bearer key_4f1d");
    expect(await recorded(slug)).toEqual(["integration.refresh"]);
    expect(await reason(catalog().listRevisions({ slug }))).toBe("UNKNOWN_INTEGRATION");
  });

  test("imports it if that is wanted, and then nothing differs any more", async () => {
    await connect("aml");
    upstream.answer({ body: bank("GET /a") });
    const applied = await catalog().refreshCatalog({ slug: "aml", apply: true });
    expect(applied).toMatchObject({
      imported: true,
      inForce: true,
      diff: { added: ["GET /a"], breaking: true },
    });
    const { revisions, drift, checkedAt } = await catalog().listRevisions({ slug: "aml" });
    expect(revisions[0]).toMatchObject({ revision: 1, source: "service", inForce: true });
    expect(drift).toBeUndefined();
    expect(checkedAt).toBeDefined();
    const again = await catalog().refreshCatalog({ slug: "aml", apply: true });
    expect(again).toMatchObject({ imported: false, inForce: true, diff: { added: [], removed: [] } });
    expect(await recorded("aml")).toEqual(["integration.import", "integration.refresh"]);
  });

  test("asks where the integration says that its document is", async () => {
    const slug = "custom:elsewhere";
    const inject = { headers: { Authorization: "Bearer {token}" } };
    const fields = [{ name: "token", secret: true }];
    const authMethods = [{ id: "bearer", type: "bearer", label: "Token", fields, inject }];
    const definition = { slug, name: "Elsewhere", authMethods };
    await service.org.client.integrations.upsertIntegration({ ...definition, openapiPath: "/docs/v1.json" });
    await connect(slug);
    upstream.answer({ body: bank("GET /a") });
    await catalog().refreshCatalog({ slug });
    expect(upstream.asked.at(-1)?.url).toBe("/api/docs/v1.json");
    const { integration } = await service.org.client.integrations.getIntegration({ slug });
    expect(integration?.openapiPath).toBe("/docs/v1.json");
    const upward = service.org.client.integrations.upsertIntegration({ ...definition, openapiPath: "/../x" });
    expect(await reason(upward)).toBe("INVALID_REQUEST");
  });

  test("takes a key that may use the connection", async () => {
    const slug = "custom:guarded";
    const id = await connect(slug);
    await connect("custom:other");
    expect(await reason((await keyWith(["catalog:write"])).refreshCatalog({ slug }))).toBe("MISSING_SCOPE");
    const rights = [{ connection: { case: "slug", value: "custom:other" } }];
    const limited = await keyWith(["catalog:write", "connections:use"], { connections: { rights } });
    expect(await reason(limited.refreshCatalog({ slug }))).toBe("NOT_FOUND");
    expect(await reason(catalog().refreshCatalog({ slug: "custom:other", connection: id }))).toBe(
      "INVALID_REQUEST",
    );
    expect(await reason(catalog().refreshCatalog({ slug: "github" }))).toBe("INVALID_REQUEST");
    expect(await reason(catalog().refreshCatalog({ slug: "custom:gone" }))).toBe("NOT_FOUND");
  });

  test("of a service that does not answer a document says so", async () => {
    const slug = "custom:mute";
    await connect(slug);
    upstream.answer({ status: 404 });
    expect(await reason(catalog().refreshCatalog({ slug }))).toBe("IMPORT_REFUSED");
    upstream.answer({ body: "<html>" });
    expect(await reason(catalog().refreshCatalog({ slug }))).toBe("IMPORT_REFUSED");
    expect(await recorded(slug)).toEqual([]);
  });
});

describe("a daily comparison", () => {
  test("reports what differs, imports nothing, and is made once a day by one replica", async () => {
    const slug = "custom:watched";
    const connectionId = await connect(slug);
    upstream.answer({ body: bank("GET /a", "GET /b") });
    const { watch } = await catalog().refreshCatalog({ slug, apply: true, daily: true });
    expect(watch).toMatchObject({ connectionId });
    const { events } = await service.org.client.audit.listAuditEvents({ target: slug });
    expect(events[0]).toMatchObject({
      action: "integration.import",
      details: { daily: true, through: connectionId },
    });
    const rights = [{ connection: { case: "slug", value: "custom:other" } }];
    const limited = await keyWith(["catalog:view"], { connections: { rights } });
    expect((await limited.listRevisions({ slug })).watch).toBeUndefined();
    upstream.answer({ body: bank("GET /b", "GET /c") });
    const before = upstream.asked.length;
    const { catalog: catalogWatch } = service.app.loops;
    await catalogWatch.runOnce();
    expect(upstream.asked).toHaveLength(before);
    service.clock.advance(dayMs);
    await Promise.all([catalogWatch.runOnce(), catalogWatch.runOnce()]);
    expect(upstream.asked).toHaveLength(before + 1);
    expect(await catalog().listRevisions({ slug })).toMatchObject({
      revisions: [{ revision: 1, inForce: true }],
      drift: { added: 1, removed: 1, changed: 0, breaking: 1 },
      watch: { connectionId },
    });
    await catalog().refreshCatalog({ slug, apply: true });
    expect((await catalog().listRevisions({ slug })).drift).toBeUndefined();
  });

  test("says why it could not be made, and ends when that is wanted, whether the service answers or not", async () => {
    const slug = "custom:failing";
    await connect(slug);
    upstream.answer({ body: bank("GET /a") });
    await catalog().refreshCatalog({ slug, apply: true, daily: true });
    upstream.answer({ status: 503 });
    service.clock.advance(dayMs);
    await service.app.loops.catalog.runOnce();
    const { drift } = await catalog().listRevisions({ slug });
    expect(drift?.error).toMatch(/status 503/);
    const before = upstream.asked.length;
    const { watch } = await catalog().refreshCatalog({ slug, daily: false });
    expect(watch).toBeUndefined();
    expect(await recorded(slug)).toHaveLength(2);
    expect(await reason(catalog().refreshCatalog({ slug: "custom:nothing", daily: false }))).toBe(
      "UNKNOWN_INTEGRATION",
    );
    service.clock.advance(2 * dayMs);
    upstream.answer({ body: bank("GET /z") });
    await service.app.loops.catalog.runOnce();
    const asked = upstream.asked.slice(before).length;
    // Of the other test's service, which is still watched.
    expect(asked).toBeLessThanOrEqual(1);
    expect((await catalog().listRevisions({ slug })).watch).toBeUndefined();
  });

  test("ends with the connection that it is made through, and says so", async () => {
    const slug = "custom:left";
    const id = await connect(slug);
    upstream.answer({ body: bank("GET /a") });
    await catalog().refreshCatalog({ slug, apply: true, daily: true });
    await service.org.client.connections.deleteConnection({ id });
    service.clock.advance(dayMs);
    await service.app.loops.catalog.runOnce();
    const { drift, watch } = await catalog().listRevisions({ slug });
    expect(drift?.error).toMatch(/not compared daily any more/);
    expect(watch).toBeUndefined();
  });

  test("is not made through a connection that is private to its owner", async () => {
    const { user } = await service.org.client.directory.upsertUser({ email: "owner@example.com" });
    const scopes = ["connections:write", "connections:use", "catalog:write"];
    const { secret } = await service.org.client.apiKeys.createApiKey({
      name: "k",
      scopes,
      actAsUserId: user!.id,
    });
    const hers = service.as(secret).client;
    const { connection } = await hers.connections.createConnection({
      ...{ integration: "custom:hers", authMethod: "bearer", baseUrl: upstream.url, visibility: "owner" },
      credentials: { token: "t" },
    });
    const wanted = { slug: "custom:hers", connection: connection!.id };
    upstream.answer({ body: bank("GET /a") });
    expect(await reason(hers.catalog.refreshCatalog({ ...wanted, daily: true }))).toBe("INVALID_REQUEST");
    expect(await reason(catalog().refreshCatalog(wanted))).toBe("NOT_OWNER");
    expect(await hers.catalog.refreshCatalog(wanted)).toMatchObject({ diff: { added: ["GET /a"] } });
  });
});

test("an import whose process ended before it was ready is deleted later, and is never seen", async () => {
  const slug = "custom:abandoned";
  const source = { case: "document" as const, value: Uint8Array.from(bank("GET /a")) };
  await catalog().importOpenApi({ slug, source });
  await service.postgres.asOwner(`
    insert into catalog_revisions select org_id, slug, 2, digest, reader, format, source, source_url, title,
      document_version, style_table, document_bytes, schema_bytes, operations, problems, problem_count, definition,
      created_at, false
    from catalog_revisions where slug = '${slug}'`);
  const kept = () => service.postgres.asOwner(`select 1 from catalog_revisions where slug = '${slug}'`);
  const { revisions } = await catalog().listRevisions({ slug });
  expect(revisions.map(({ revision }) => revision)).toEqual([1]);
  expect(await reason(catalog().activateRevision({ slug, revision: 2 }))).toBe("UNKNOWN_REVISION");
  await service.app.loops.catalog.runOnce();
  expect(await kept()).toHaveLength(2);
  service.clock.advance(61 * 60_000);
  await service.app.loops.catalog.runOnce();
  expect(await kept()).toHaveLength(1);
});
