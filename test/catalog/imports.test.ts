import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { bankDocument as bank } from "../support/bank-document.ts";
import { storeImport } from "../support/imports.ts";
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

const catalog = () => service.org.client.catalog;

const importing = (slug: string, document: Buffer, org: Tenant = service.org) =>
  org.client.catalog.importOpenApi({ slug, source: { case: "document", value: Uint8Array.from(document) } });

const fetching = (slug: string, url: string) =>
  catalog().importOpenApi({ slug, source: { case: "url", value: url } });

const connect = (serviceSlug: string, org: Tenant = service.org) =>
  org.client.connections.upsertServiceConnection({ serviceSlug, baseUrl: upstream.url, apiKey: "k" });

async function offered(slug: string): Promise<string[]> {
  const { catalog: services } = await catalog().listServices({});
  const endpoints = services.find((one) => one.slug === slug)?.endpoints ?? [];
  return endpoints.map(({ method, path }) => `${method} ${path}`);
}

async function recorded(target: string): Promise<string[]> {
  const { events } = await service.org.client.audit.listAuditEvents({ target });
  return events.map(({ action }) => action).toReversed();
}

const reason = (failing: Promise<unknown>) => failing.then(() => "none", reasonOf);

const numbers = async (slug: string) =>
  (await catalog().listRevisions({ slug })).revisions.map((one) => one.revision);

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
    expect(answer.revision?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await offered(slug)).toEqual(["GET /accounts", "POST /accounts"]);
    const { integration } = await service.org.client.integrations.getIntegration({ slug });
    expect(integration).toMatchObject({ name: "Bank", source: "own", version: 1 });
  });

  test("of the document in force changes nothing, and is not recorded", async () => {
    const slug = "custom:same";
    const first = await importing(slug, bank("GET /a"));
    const again = await importing(slug, bank("GET /a"));
    expect(again).toMatchObject({
      imported: false,
      revision: { revision: 1 },
      diff: { added: [], breaking: false },
    });
    expect(again.revision).toEqual(first.revision);
    expect(await recorded(slug)).toEqual(["integration.import"]);
  });

  test("takes a document as it is over REST, and one in base64", async () => {
    const slug = "custom:rest";
    const sent = await fetch(`${service.url}/api/integrations/${slug}/import`, {
      method: "POST",
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
      body: new Uint8Array(bank("GET /a")),
    });
    expect(sent.status).toBe(200);
    const encoded = { document: bank("GET /b").toString("base64") };
    const { status, body } = await service.org.rest("POST", `/api/integrations/${slug}/import`, encoded);
    expect(status).toBe(200);
    expect(body.data).toMatchObject({ imported: true, diff: { added: ["GET /b"], removed: ["GET /a"] } });
    const yaml = await fetch(`${service.url}/api/integrations/${slug}/import`, {
      method: "POST",
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
      body: "openapi: 3.1.0\n",
    });
    expect(await yaml.text()).toContain("send it with its own Content-Type, such as application/yaml");
  });

  test("that is refused leaves everything as it was", async () => {
    const slug = "custom:broken";
    await connect(slug);
    await importing(slug, bank("GET /a"));
    expect(await reason(importing(slug, Buffer.from("nonsense")))).toBe("IMPORT_REFUSED");
    expect(await offered(slug)).toEqual(["GET /a"]);
    expect(await numbers(slug)).toEqual([1]);
    expect(await reason(importing("custom:nothing", Buffer.from("nonsense")))).toBe("IMPORT_REFUSED");
    expect(await reason(numbers("custom:nothing"))).toBe("UNKNOWN_INTEGRATION");
  });

  test("belongs to its organisation alone", async () => {
    const slug = "custom:ours";
    await importing(slug, bank("GET /a"));
    const other = await service.newOrganization("globex");
    expect(await reason(other.client.catalog.listRevisions({ slug }))).toBe("UNKNOWN_INTEGRATION");
    await importing(slug, bank("GET /b"), other);
    await connect(slug);
    expect(await offered(slug)).toEqual(["GET /a"]);
  });

  test("of a service that is neither custom nor known is refused", async () => {
    expect(await reason(importing("nowhere", bank("GET /a")))).toBe("UNKNOWN_INTEGRATION");
    expect(await reason(importing("custom:Über", bank("GET /a")))).toBe("UNKNOWN_INTEGRATION");
  });

  test("is seen wholly or not at all, however often another one takes its place", async () => {
    const slug = "custom:switched";
    await connect(slug);
    const all = (letter: string) => Array.from({ length: 60 }, (_, i) => `GET /${letter}/${100 + i}`);
    await importing(slug, bank(...all("a")));
    await importing(slug, bank(...all("b")));
    let isOver = false;
    const seen = new Set<string>();
    async function read() {
      while (!isOver) {
        const paths = await offered(slug);
        const letters = new Set(paths.map((path) => path.slice(0, 6)));
        expect({ paths: paths.length, letters: letters.size }).toEqual({ paths: 60, letters: 1 });
        for (const letter of letters) seen.add(letter);
      }
    }
    async function change() {
      for (let i = 0; i < 8 || (seen.size < 2 && i < 200); i++) {
        await catalog().activateRevision({ slug, revision: 1 + (i % 2) });
      }
      isOver = true;
    }
    await Promise.all([read(), read(), change()]);
    expect([...seen].toSorted()).toEqual(["GET /a", "GET /b"]);
  });
});

test("an import that another one came before says in the audit trail what its figures are about", async () => {
  const slug = "custom:overtaken";
  await importing(slug, bank("GET /a"));
  await importing(slug, bank("GET /b"));
  const { asOwner } = service.postgres;
  await asOwner("begin");
  await asOwner(`update catalogs set revision = 1 where slug = '${slug}'`);
  const overtaken = importing(slug, bank("GET /c"));
  const waiting = "select from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))";
  await expect.poll(() => asOwner(waiting), { interval: 5, timeout: 20_000 }).not.toHaveLength(0);
  await asOwner("commit");
  await overtaken;
  const { events } = await service.org.client.audit.listAuditEvents({ target: slug });
  expect(events[0]?.details).toMatchObject({ revision: { before: 1, after: 3 }, comparedWith: 2 });
});

describe("a preview", () => {
  test("says what an import would change, and changes nothing", async () => {
    const slug = "custom:previewed";
    await importing(slug, bank("GET /a", "GET /b"));
    const preview = (...operations: string[]) =>
      catalog().previewImport({
        slug,
        source: { case: "document", value: Uint8Array.from(bank(...operations)) },
      });
    expect(await preview("GET /b", "GET /c")).toMatchObject({
      inForce: false,
      operations: 2,
      diff: { added: ["GET /c"], removed: ["GET /a"], breaking: true },
    });
    expect(await preview("GET /a", "GET /b")).toMatchObject({
      inForce: true,
      operations: 2,
      diff: { added: [] },
    });
    expect(await numbers(slug)).toEqual([1]);
    expect(await recorded(slug)).toEqual(["integration.import"]);
  });

  test("of an unknown service says what would be there", async () => {
    const source = { case: "document" as const, value: Uint8Array.from(bank("GET /a")) };
    const { diff } = await catalog().previewImport({ slug: "custom:unknown", source });
    expect(diff).toMatchObject({ added: ["GET /a"], removed: [] });
    expect(diff?.definition).not.toEqual([]);
    expect(await reason(numbers("custom:unknown"))).toBe("UNKNOWN_INTEGRATION");
  });
});

describe("revisions", () => {
  test("are listed with the one in force, and one step back is one call", async () => {
    const slug = "custom:back";
    await connect(slug);
    await importing(slug, bank("GET /old"));
    await importing(slug, bank("GET /new"));
    const { revisions } = await catalog().listRevisions({ slug });
    expect(revisions).toMatchObject([
      { revision: 2, inForce: true },
      { revision: 1, inForce: false },
    ]);
    const back = await catalog().activateRevision({ slug, revision: 1 });
    expect(back.revision).toMatchObject({ revision: 1, inForce: true });
    expect(await offered(slug)).toEqual(["GET /old"]);
    await catalog().activateRevision({ slug, revision: 1 });
    expect(await recorded(slug)).toEqual([
      "integration.import",
      "integration.import",
      "integration.activate",
    ]);
    expect(await reason(catalog().activateRevision({ slug, revision: 3 }))).toBe("UNKNOWN_REVISION");
    expect(await reason(catalog().getRevision({ slug, revision: 3 }))).toBe("UNKNOWN_REVISION");
    const { revision } = await catalog().getRevision({ slug, revision: 2 });
    expect(revision).toMatchObject({ revision: 2, inForce: false, title: "Bank" });
  });

  test("of a sibling end with what comes with Patchbay, which can be put in force again", async () => {
    await connect("aml");
    const shipped = await offered("aml");
    await importing("aml", bank("GET /a"));
    expect(await offered("aml")).toEqual(["GET /a"]);
    const { revisions } = await catalog().listRevisions({ slug: "aml" });
    expect(revisions).toMatchObject([
      { revision: 1, inForce: true },
      { revision: 0, inForce: false, source: "shipped", operations: shipped.length },
    ]);
    const { revision } = await catalog().activateRevision({ slug: "aml", revision: 0 });
    expect(revision).toMatchObject({ revision: 0, inForce: true });
    expect(await offered("aml")).toEqual(shipped);
    const { integration } = await service.org.client.integrations.getIntegration({ slug: "aml" });
    expect(integration).toMatchObject({ name: "AML", source: "sibling" });
  });

  test("are kept to the last ten beside the one in force, are paged, and no number comes twice", async () => {
    const slug = "custom:many";
    await importing(slug, bank("GET /1"));
    const { postgres, org } = service;
    for (let revision = 2; revision <= 12; revision++)
      await storeImport(postgres, { orgId: org.orgId, slug, revision, operations: [] });
    await importing(slug, bank("GET /13"));
    expect(await numbers(slug)).toEqual([13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    const first = await catalog().listRevisions({ slug, pageSize: 4 });
    expect(first.revisions.map((one) => one.revision)).toEqual([13, 12, 11, 10]);
    const next = await catalog().listRevisions({ slug, pageSize: 4, pageToken: first.nextPageToken! });
    expect(next.revisions.map((one) => one.revision)).toEqual([9, 8, 7, 6]);
    await service.org.client.integrations.deleteIntegration({ slug });
    await importing(slug, bank("GET /14"));
    expect(await numbers(slug)).toEqual([14]);
  });

  test("are gone with their integration", async () => {
    const slug = "custom:deleted";
    await importing(slug, bank("GET /a"));
    await service.org.client.integrations.deleteIntegration({ slug });
    expect(await reason(numbers(slug))).toBe("UNKNOWN_INTEGRATION");
    await connect(slug);
    expect(await offered(slug)).toEqual([]);
    const rows = await service.postgres.asOwner(`select 1 from catalog_operations where slug = '${slug}'`);
    expect(rows).toHaveLength(0);
  });
});

describe("a URL", () => {
  test("is fetched without a credential, and what its query holds is shown nowhere", async () => {
    const slug = "custom:fetched";
    upstream.answer({ body: bank("GET /a") });
    const { revision } = await fetching(slug, `${upstream.url}/docs/openapi.json?token=tok_7a1c&v=2#top`);
    expect(revision).toMatchObject({ source: "url", sourceUrl: `${upstream.url}/docs/openapi.json` });
    const asked = upstream.asked.at(-1);
    expect(asked?.url).toBe("/docs/openapi.json?token=tok_7a1c&v=2");
    expect(asked?.headers).not.toHaveProperty("authorization");
    expect(service.logged()).not.toContain("tok_7a1c");
    const { events } = await service.org.client.audit.listAuditEvents({ target: slug });
    expect(JSON.stringify(events.map(({ details }) => details))).not.toContain("tok_7a1c");
  });

  test("must answer the document itself", async () => {
    const slug = "custom:astray";
    upstream.answer({ status: 302, headers: { location: "/elsewhere" } });
    const moved = fetching(slug, `${upstream.url}/openapi.json`);
    await expect(moved).rejects.toThrow(/status 302, and redirects are not followed/);
    upstream.answer({ status: 500 });
    expect(await reason(fetching(slug, `${upstream.url}/openapi.json`))).toBe("IMPORT_REFUSED");
  });

  test("that is wrong is called so by its own name", async () => {
    const signedIn = fetching("custom:astray", "https://user:pw@bank.example/openapi.json");
    await expect(signedIn).rejects.toThrow(/url: leave out user name and password/);
    const unescaped = fetching("custom:astray", "https://bank.example/open api.json");
    await expect(unescaped).rejects.toThrow(/url: percent-encode everything but [^ ]+, digits and \S+$/);
  });

  test.each([
    ["ftp://bank.example/openapi.json", "IMPORT_REFUSED"],
    ["/etc/passwd", "IMPORT_REFUSED"],
    ["https://user:pw@bank.example/openapi.json", "INVALID_BASE_URL"],
    ["http://10.0.0.1/openapi.json", "ADDRESS_DENIED"],
    ["http://169.254.169.254/latest", "ADDRESS_DENIED"],
    ["https://bank.example/../openapi.json", "INVALID_PATH"],
  ])("that must not be called is refused: %s", async (url, expected) => {
    expect(await reason(fetching("custom:astray", url))).toBe(expected);
  });
});
