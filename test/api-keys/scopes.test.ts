import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalScope, firstNotGrantable, grants, isScope } from "#src/api-keys/scopes.ts";

describe("a scope grants", () => {
  test.each([
    ["itself", ["customers:write"], "customers:write", true],
    ["itself in the dotted spelling", ["sar.write"], "sar:write", true],
    ["view for a dotted read", ["rule.read"], "rule:view", true],
    ["nothing else of the resource: write is not view", ["customers:write"], "customers:view", false],
    ["nothing of another resource", ["customers:view"], "orders:view", false],
    ["every view with the wildcard read", ["read"], "orders:view", true],
    ["no write with the wildcard read", ["read"], "orders:write", false],
    ["every view with the wildcard write", ["write"], "orders:view", true],
    ["every write with the wildcard write", ["write"], "orders.write", true],
    ["the wildcard read with the wildcard write", ["write"], "read", true],
    ["no use with the wildcard write", ["write"], "connections:use", false],
    ["no issuing of keys with the wildcard write", ["write"], "api:manage", false],
    ["no granting with the wildcard write", ["write"], "api:grant", false],
    ["no verifying with the wildcard write", ["write"], "keys:verify", false],
    ["by the last colon", ["a:b:view"], "a:b:view", true],
    ["nothing when there is none", [], "orders:view", false],
    ["nothing by another case", ["Orders:view"], "orders:view", false],
  ])("%s", (_, held, wanted, expected) => {
    expect(grants(held, wanted)).toBe(expected);
  });
});

test("canonical form is stable, so that stored and wanted scopes meet", () => {
  const scope = fc.stringMatching(/^[a-z0-9_-]{1,8}([.:][a-z0-9_-]{1,8}){1,3}$/);
  fc.assert(
    fc.property(scope, (text) => {
      expect(isScope(text)).toBe(true);
      expect(canonicalScope(canonicalScope(text))).toBe(canonicalScope(text));
      expect(grants([text], text)).toBe(true);
    }),
  );
});

test("without api:grant, whatever can be given is already held", () => {
  const scope = fc.constantFrom(
    "read",
    "write",
    "a:view",
    "a:write",
    "a.read",
    "a:manage",
    "api:manage",
    "connections:use",
  );
  fc.assert(
    fc.property(
      fc.array(scope, { maxLength: 4 }),
      fc.array(scope, { minLength: 1, maxLength: 4 }),
      (held, given) => {
        fc.pre(firstNotGrantable(held, given) === undefined);
        const everything = [
          "a:view",
          "b:view",
          "a:write",
          "b:write",
          "a:manage",
          "api:manage",
          "connections:use",
          "read",
        ];
        for (const power of everything) if (grants(given, power)) expect(grants(held, power)).toBe(true);
      },
    ),
  );
});

test.each([
  "",
  "orders",
  "orders:",
  ":view",
  "orders view",
  "orders:view;",
  "ordérs:view",
  `${"a".repeat(60)}:view`,
])("%j is no scope", (text) => {
  expect(isScope(text)).toBe(false);
});
