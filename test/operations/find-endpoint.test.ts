import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findEndpoint } from "#src/operations/find-endpoint.ts";
import type { ServiceDescription } from "#src/operations/service-description.ts";

function serviceWith(...operations: readonly string[]): ServiceDescription {
  const endpoints = operations.map((operation) => {
    const [method = "", path = ""] = operation.split(" ");
    return { method, path, name: operation, operationId: undefined, scopes: [], deprecated: false };
  });
  return { name: "A service", revision: 1, endpoints };
}

describe("an endpoint is found by its path, and of several the most specific", () => {
  const service = serviceWith(
    "GET /rules/active",
    "GET /rules/{id}",
    "GET /rules/{id}/active",
    "GET /rules/{id}.json",
    "GET /rules/{from}-{to}",
    "POST /rules/{id}",
    "GET /{kind}/new",
    "GET /{kind}/{id}/{part}",
  );
  test.each([
    ["get", "/rules/active", "GET /rules/active"],
    ["GET", "/rules/7?x=/active", "GET /rules/{id}"],
    ["GET", "/rules/{id}", "GET /rules/{id}"],
    ["GET", "/rules/{ruleId}", "GET /rules/{id}"],
    ["GET", "/rules/7.json", "GET /rules/{id}.json"],
    ["GET", "/rules/.json", "GET /rules/{id}"],
    ["GET", "/rules/1-2", "GET /rules/{from}-{to}"],
    ["GET", "/rules/-2", "GET /rules/{id}"],
    ["POST", "/rules/active", "POST /rules/{id}"],
    ["GET", "/rules/7/active", "GET /rules/{id}/active"],
    ["GET", "/rules/7/other", "GET /{kind}/{id}/{part}"],
    ["GET", "/cases/new", "GET /{kind}/new"],
    ["GET", "/rules/", undefined],
    ["GET", "/rules", undefined],
    ["DELETE", "/rules/7", undefined],
  ])("%s %s", (method, path, expected) => {
    expect(findEndpoint(service, { method, path })?.name).toBe(expected);
  });
});

test("whatever its paths, what is found matches, and nothing that matches is more specific", () => {
  const segment = fc.constantFrom("a", "b", "{x}", "{y}");
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `/${segments.join("/")}`);
  const asked = fc
    .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 })
    .map((one) => `/${one.join("/")}`);
  fc.assert(
    fc.property(fc.array(path, { maxLength: 30 }), asked, (paths, wanted) => {
      const variables = (template: string) => template.split("{").length;
      const fits = (template: string) =>
        new RegExp(`^${template.replaceAll(/\{.\}/g, "[^/]+")}$`).test(wanted);
      const best = Math.min(...paths.filter(fits).map(variables));
      const found = findEndpoint(serviceWith(...paths.map((one) => `GET ${one}`)), {
        method: "GET",
        path: wanted,
      });
      expect(found === undefined ? Infinity : variables(found.path)).toBe(best);
      if (found !== undefined) expect(fits(found.path)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test("an endpoint among 5,000 is found without a look at all of them", () => {
  const paths = Array.from({ length: 5_000 }, (_, n) => `/v1/kind${n % 50}/{id}/part${n}/{sub}`);
  const service = serviceWith(...paths.map((path) => `GET ${path}`));
  const started = process.cpuUsage();
  for (let n = 0; n < 50_000; n++) {
    const path = `/v1/kind${n % 50}/7/part${n % 5_000}/x`;
    expect(findEndpoint(service, { method: "GET", path })?.path).toBe(paths[n % 5_000]);
  }
  // One by one, it takes a minute.
  expect(process.cpuUsage(started).user).toBeLessThan(15_000_000);
});

test("paths that are made to be confused with each other are looked at once each, not in all combinations", () => {
  // Each of twelve segments is fixed or open.
  const paths = Array.from({ length: 4_096 }, (_, bits) =>
    Array.from({ length: 12 }, (_, at) => ((bits >> at) & 1 ? "/{x}" : "/a")).join(""),
  );
  const service = serviceWith(...paths.map((path) => `GET ${path}`));
  const path = "/a".repeat(12);
  expect(findEndpoint(service, { method: "GET", path })?.path).toBe(path);
  expect(findEndpoint(service, { method: "GET", path: `${path}/none` })).toBeUndefined();
});

test("what nobody looks for is not told apart: of paths with a million segments, one is found at once", () => {
  const tail = "/a".repeat(400);
  const service = serviceWith(...Array.from({ length: 5_000 }, (_, n) => `GET /${n}${tail}`));
  const started = process.cpuUsage();
  expect(findEndpoint(service, { method: "GET", path: `/17${tail}` })?.path).toBe(`/17${tail}`);
  // A few milliseconds; for all of them, it takes more than a second, and a gigabyte.
  expect(process.cpuUsage(started).user).toBeLessThan(500_000);
});
