import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

// These hold for every table and function there is, so that a new one is covered the day it appears.

let postgres: TestDatabase;

beforeAll(async () => {
  postgres = await createTestDatabase();
});
afterAll(() => postgres[Symbol.asyncDispose]());

async function names(query: string): Promise<unknown[]> {
  return (await postgres.asOwner(query, [], "arrays")).map((row) => row[0]);
}

test("every table with rows of organisations is closed to the service's role, or shows it one organisation's rows only", async () => {
  const open = await names(`
    select relname from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')
      and has_table_privilege('patchbay_app', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
      and not (relrowsecurity and exists (select from pg_policy where polrelid = pg_class.oid))`);
  // The deployment's own keys: no organisation has any, and what is stored is wrapped.
  expect(open).toEqual(["service_keys"]);
});

test("every policy compares the row's organisation with the transaction's, in reading and in writing", async () => {
  const comparison = /^\(\(?(org_id|id) = \( SELECT app_org_id\(\) AS app_org_id\)\)?\)$/;
  const policies = await postgres.asOwner(`
    select tablename, qual, with_check from pg_policies
    where schemaname = 'public' and 'patchbay_app' = any(roles)`);
  expect(policies.length).toBeGreaterThan(3);
  for (const policy of policies) {
    expect(policy["qual"]).toMatch(comparison);
    expect(policy["with_check"] ?? policy["qual"]).toMatch(comparison);
  }
});

test("the service's role truncates nothing and owns nothing", async () => {
  const truncatable = await names(`
    select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
      and has_table_privilege('patchbay_app', oid, 'TRUNCATE')`);
  const owned = await names("select relname from pg_class where relowner = 'patchbay_app'::regrole");
  expect([truncatable, owned]).toEqual([[], []]);
});

test("what runs with the owner's rights finds only the owner's tables, and nobody else may call it", async () => {
  const definers = await postgres.asOwner(`
    select proname, proconfig, has_function_privilege('public', oid, 'EXECUTE') as public
    from pg_proc where pronamespace = 'public'::regnamespace and prosecdef`);
  expect(definers.length).toBeGreaterThan(0);
  for (const { proconfig, public: everybody } of definers) {
    expect(String(proconfig)).toContain("search_path=pg_catalog, public, pg_temp");
    expect(everybody).toBe(false);
  }
});

test("the organisation leads every primary key and every reference between tables of organisations", async () => {
  const keys = await postgres.asOwner(`
    select conrelid::regclass::text || ' ' || conname as name, attname as lead
    from pg_constraint join pg_attribute on attrelid = conrelid and attnum = conkey[1]
    where connamespace = 'public'::regnamespace and contype in ('p', 'f')
      and exists (select from pg_attribute where attrelid = conrelid and attname = 'org_id')`);
  const astray = keys.filter(({ lead }) => lead !== "org_id").map(({ name }) => name);
  // A secret is what finds the organisation, so it cannot be led by one.
  expect(astray.filter((name) => !String(name).startsWith("api_key_secrets "))).toEqual([]);
});
