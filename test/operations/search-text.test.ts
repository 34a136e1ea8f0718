import fc from "fast-check";
import { expect, test } from "vitest";
import { searchQuery, searchVector, spelledQuery, type Searched } from "#src/operations/search-text.ts";
import { createTestDatabase } from "../support/postgres.ts";

const listUsers: Searched = {
  method: "GET",
  path: "/v1/organizations/{orgId}/users",
  name: "List users",
  operationId: "listOrgUsers",
  description: "Answers everyone who can sign in, with their HTTPHeaders' policies.",
  scopes: ["users:read"],
};

test("an operation is found by forms and beginnings of its words, its method and its scope, and by nothing else", async () => {
  await using postgres = await createTestDatabase("empty");
  const finds = async (sought: Parameters<typeof searchQuery>[1], orgId = "acme") => {
    const asked = [searchVector("acme", listUsers), searchQuery(orgId, sought)];
    const [row] = await postgres.asOwner("select $1::tsvector @@ $2::tsquery as found", asked);
    return row?.["found"];
  };
  for (const text of [
    ...["user", "users", "USERS", "organization", "org id", "listOrgUsers", "listorgusers", "http header"],
    ...["policy", "policies", "orgs list", "/v1/organizations/{orgId}/users", "sign", "answered", "get"],
  ]) {
    expect([text, await finds({ text })]).toStrictEqual([text, true]);
  }
  for (const text of ["sers", "user invoices", "delete"]) {
    expect([text, await finds({ text })]).toStrictEqual([text, false]);
  }
  expect(await finds({ text: "users", method: "get", scope: "users:read" })).toBe(true);
  expect(await finds({ method: "POST" })).toBe(false);
  expect(await finds({ scope: "users" })).toBe(false);
  expect(await finds({ text: "users" }, "globex")).toBe(false);
});

test("whatever an operation is called, Postgres takes its words, and it is found by its name", async () => {
  await using postgres = await createTestDatabase("empty");
  const anything = fc.string({ unit: "binary", maxLength: 60 }).map((text) => text.replaceAll("\0", ""));
  const operation = fc.record({
    ...{ method: fc.constantFrom("GET", "POST"), path: anything, name: anything, operationId: anything },
    ...{ description: fc.option(anything, { nil: undefined }), scopes: fc.array(anything, { maxLength: 3 }) },
  });
  await fc.assert(
    fc.asyncProperty(operation, async (one) => {
      const query = searchQuery("acme", { text: one.name, method: one.method, scope: one.scopes[0] ?? "" });
      const asked = [searchVector("acme", one), query, spelledQuery("acme", one.name)];
      const [row] = await postgres.asOwner(
        "select $1::tsvector @@ $2::tsquery as found, $3::tsquery is not null as read",
        asked,
      );
      expect(row).toMatchObject({ found: true, read: true });
    }),
    { numRuns: 200 },
  );
});

test("of a description of any length, no more words are kept than make a small row", () => {
  const description = Array.from({ length: 100_000 }, (_, i) => `word${i}`).join(" ");
  const vector = searchVector("acme", { ...listUsers, description });
  expect(vector.length).toBeLessThan(16 * 1024);
  expect(vector).toContain("users");
});
