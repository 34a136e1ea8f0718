import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PgDialect } from "#src/db/drizzle.cjs";
import { endpointsQuery } from "#src/operations/endpoint-store.ts";
import { searchQuery, spelledQuery } from "#src/operations/search-text.ts";
import { storeImport, type GivenOperation } from "../support/imports.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => void (service = await startService()));
afterAll(() => service[Symbol.asyncDispose]());

async function connect({ client }: Presenter, ...slugs: string[]): Promise<void> {
  for (const serviceSlug of slugs) {
    await client.connections.upsertServiceConnection({
      ...{ serviceSlug, baseUrl: "https://service.example", apiKey: "k" },
    });
  }
}

const named = (operations: readonly { actionIdentifier: string }[]) =>
  operations.map((one) => one.actionIdentifier);

describe("the search over operations", () => {
  let org: Awaited<ReturnType<TestService["newOrganization"]>>;
  const search = async (query: string, by: Presenter = org) => {
    const { status, body } = await by.rest("GET", `/api/operations?${query}`);
    expect(status).toBe(200);
    return named(body.data.operations);
  };

  beforeAll(async () => {
    org = await service.newOrganization("searching");
    await connect(org, "identity", "aml", "custom:hr", "custom:crm");
    const operations: GivenOperation[] = [
      { method: "GET", path: "/users", operationId: "listUsers", scopes: ["users:read"] },
      { method: "POST", path: "/users", operationId: "createUser", scopes: ["users:read", "users:write"] },
      { method: "GET", path: "/teams", operationId: "listTeams", description: "With the users of each." },
      { method: "GET", path: "/userless", name: "Something else", deprecated: true },
    ];
    await storeImport(service.postgres, { orgId: org.orgId, slug: "custom:hr", operations });
    await storeImport(service.postgres, {
      ...{ orgId: org.orgId, slug: "custom:crm" },
      operations: [{ method: "DELETE", path: "/users/{id}", name: "Remove", description: "y".repeat(2_000) }],
    });
    await storeImport(service.postgres, {
      ...{ orgId: org.orgId, slug: "custom:unconnected" },
      operations: [{ method: "GET", path: "/users", operationId: "hidden" }],
    });
  });

  test("finds words in names, ids, paths and descriptions, what is named so before what only speaks of it", async () => {
    expect(await search("q=list%20user")).toStrictEqual(["custom:hr/listUsers", "custom:hr/listTeams"]);
    const found = await search("q=users&slug=custom:hr");
    expect(found).toHaveLength(4);
    expect(new Set(found.slice(0, 2))).toStrictEqual(
      new Set(["custom:hr/listUsers", "custom:hr/createUser"]),
    );
    expect(found.at(-1)).toBe("custom:hr/listTeams");
    expect(await search("q=nothing%20user")).toStrictEqual([]);
  });

  test("is narrowed by method, scope and service, together and without any word", async () => {
    expect(await search("scope=users:read&q=user&method=post")).toStrictEqual(["custom:hr/createUser"]);
    expect(await search("scope=users:read")).toStrictEqual(["custom:hr/listUsers", "custom:hr/createUser"]);
    expect(await search("q=user&slug=custom:crm")).toStrictEqual(["custom:crm/DELETE /users/{id}"]);
    expect(await search("slug=custom:unconnected")).toStrictEqual([]);
    expect(await search("slug=custom:crm")).toHaveLength(1);
  });

  test("finds what comes with Patchbay among what was imported", async () => {
    expect(await search("q=ktp%20capture")).toStrictEqual([expect.stringContaining("identity/")]);
    const [submit] = (await org.client.catalog.listOperations({ q: "bound user sar" })).operations;
    expect(submit?.description).toContain("bound to a user");
    expect(await search("q=capture&scope=verifications:view&slug=identity")).not.toStrictEqual([]);
    const all = await search("pageSize=200");
    expect(all.map((one) => one.slice(0, one.indexOf("/")))).toStrictEqual(
      all.map((one) => one.slice(0, one.indexOf("/"))).toSorted(),
    );
    expect(all).toContain("custom:crm/DELETE /users/{id}");
    expect(all.some((one) => one.startsWith("aml/"))).toBe(true);
  });

  test.each(["", "user", "e"])("page by page answers the same as at once, looking for `%s`", async (q) => {
    const atOnce = (await org.client.catalog.listOperations({ q, pageSize: 200 })).operations;
    const paged = [];
    let pageToken: string | undefined = "";
    while (pageToken !== undefined) {
      const page = await org.client.catalog.listOperations({ q, pageSize: 2, pageToken });
      paged.push(...page.operations);
      pageToken = page.nextPageToken;
    }
    expect(paged).toStrictEqual(atOnce);
  });

  test("shows what an operation is, of a long description the beginning", async () => {
    const { operations } = await org.client.catalog.listOperations({ q: "remove" });
    expect(operations).toMatchObject([
      { slug: "custom:crm", method: "DELETE", path: "/users/{id}", name: "Remove", deprecated: false },
    ]);
    expect(operations[0]?.description).toBe("y".repeat(500));
    const [created] = (await org.client.catalog.listOperations({ q: "createUser" })).operations;
    expect(created?.scope).toBe("users:read users:write");
  });

  test("takes no page token of another list, and no text for one", async () => {
    const ranks = ["NaN", "1e300", "1e-300", "-1"];
    const made = ranks.map((rank) => Buffer.from(`p1:["${rank}","a","b","c"]`).toString("base64url"));
    for (const pageToken of ["x", ...made]) {
      const asking = org.client.catalog.listOperations({ q: "user", pageToken });
      await expect(asking).rejects.toMatchObject({ code: Code.InvalidArgument });
    }
  });

  test("shows a key no operations of connections that it may not see, nor another organisation any", async () => {
    const { secret } = await org.client.apiKeys.createApiKey({
      ...{ name: "crm only", scopes: ["catalog:view"], environment: "sandbox" },
      connections: { rights: [{ connection: { case: "slug", value: "custom:crm" } }] },
    });
    expect(await search("q=users", service.as(secret))).toStrictEqual(["custom:crm/DELETE /users/{id}"]);
    expect(await search("q=capture", service.as(secret))).toStrictEqual([]);
    const other = await service.newOrganization("found nothing");
    await connect(other, "custom:hr");
    expect(await search("q=users", other)).toStrictEqual([]);
  });
});

describe("with 50,000 operations of another organisation beside", () => {
  let org: Awaited<ReturnType<TestService["newOrganization"]>>;
  let large: typeof org;
  const words = ["user", "team", "invoice", "report", "order", "login", "audit", "ticket"];
  const operationsOf = (count: number): GivenOperation[] =>
    Array.from({ length: count }, (_, i) => ({
      method: i % 2 === 0 ? "GET" : "POST",
      path: `/${words[i % 8]}s/${i}`,
      operationId: `${i % 2 === 0 ? "list" : "create"}${words[Math.floor(i / 8) % 8]}${i}`,
    }));

  beforeAll(async () => {
    const { asOwner } = service.postgres;
    org = await service.newOrganization("beside");
    large = await service.newOrganization("large");
    const { orgId } = large;
    await storeImport(service.postgres, { orgId, slug: "custom:s0", operations: operationsOf(5_000) });
    await storeImport(service.postgres, {
      orgId: org.orgId,
      slug: "custom:own",
      operations: operationsOf(20),
    });
    for (const table of ["catalogs", "catalog_revisions", "catalog_operations"]) {
      const columns = await asOwner(
        "select string_agg(attname, ', ') as rest from pg_attribute where attrelid = $1::regclass and attnum > 2",
        [table],
      );
      const rest = String(columns[0]?.["rest"]);
      await asOwner(
        `insert into ${table} (org_id, slug, ${rest}) select org_id, 'custom:s' || n, ${rest}
       from ${table}, generate_series(1, 9) as n where org_id = $1 and slug = 'custom:s0'`,
        [orgId],
      );
    }
    await asOwner("analyze catalog_operations");
  });

  test("a search walks over words of its own organisation only, by the index", async () => {
    const ofLarge = await planOf(large.orgId, "{custom:s1,custom:s2}", "user list 1024");
    expect(ofLarge).toMatch(/Bitmap Index Scan on catalog_operations_search .*rows=10\b/);
    const ofOther = await planOf(org.orgId, "{custom:own}", "user");
    for (const plan of [ofLarge, ofOther]) expect(plan).not.toContain("Seq Scan on catalog_operations");
    const looked = [
      ...ofOther.matchAll(/(?:catalog_operations.* \(actual rows=|Removed by Filter: )([\d.]+)/g),
    ];
    expect(looked.reduce((sum, [, rows]) => sum + Number(rows), 0)).toBeLessThanOrEqual(20);
  });

  test("a page of the catalog reads as many operations as it may hold, by the key of their import", async () => {
    const imports = ["custom:s3", "custom:s4", "custom:s5"].map((slug) => ({ slug, revision: 1 }));
    const after = { path: "/orders/1", method: "GET" };
    const query = endpointsQuery(large.orgId, imports, after, { endpoints: 501, bytes: 1024 * 1024 });
    const { sql, params } = new PgDialect().sqlToQuery(query);
    const lines = await service.postgres.asOwner(`explain (analyze, timing off, costs off) ${sql}`, params);
    const plan = lines.map((line) => String(line["QUERY PLAN"])).join("\n");
    // A page of the first, one of the second to see that it is full, and none of the third.
    expect(plan).toMatch(
      /Index Scan using catalog_operations_org_id_slug_revision_path_method_pk .*rows=251\.00 loops=2/,
    );
    expect(plan).not.toContain("Seq Scan on");
    expect(plan).not.toContain("Removed by Filter");
  });

  /** How the body of the function runs, of which EXPLAIN shows nothing by itself. */
  async function planOf(orgId: string, services: string, text: string): Promise<string> {
    const { asOwner } = service.postgres;
    const [row] = await asOwner(
      "select prosrc, proargnames, proconfig from pg_proc where proname = 'search_operations'",
    );
    const found = row as unknown as Record<"prosrc", string> & Record<"proargnames" | "proconfig", string[]>;
    const { prosrc, proargnames, proconfig } = found;
    const query = searchQuery(orgId, { text });
    const given = new Map<string, string>([
      ...(["sought", "words"] as const).map((name) => [name, `${literal(query)}::tsquery`] as const),
      ["spelled", `${literal(spelledQuery(orgId, text))}::tsquery`],
      ["services", `${literal(services)}::text[]`],
      ["after_rank", "null::real"],
      ["most", "51"],
    ]);
    const types = (name: string) => (name.startsWith("shipped") ? "null::text[]" : "null::text");
    const body = proargnames.reduce(
      (sql, name) =>
        sql.replaceAll(new RegExp(`search_operations\\.${name}\\b`, "g"), given.get(name) ?? types(name)),
      prosrc.replaceAll("app_org_id()", literal(orgId)),
    );
    await asOwner(`set ${proconfig.find((one) => one.startsWith("enable"))}`);
    const lines = await asOwner(`explain (analyze, timing off, costs off) ${body}`);
    return lines.map((line) => String(line["QUERY PLAN"])).join("\n");
  }
});

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
