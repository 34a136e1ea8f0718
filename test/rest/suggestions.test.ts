import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const { paths } = JSON.parse(readFileSync("gen/openapi.json", "utf8")) as {
  paths: Record<string, Record<string, object>>;
};
// Not the proxy: the slashes of its path are the called service's.
const operations = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([, operation]) => "x-patchbay-policy" in operation)
    .map(([verb]) => [verb.toUpperCase(), path] as const),
);

test.each(operations)(
  "%s %s with a slash at its end, or a doubled one, suggests the path without",
  async (verb, path) => {
    const filled = path.replace(/\{[^}]+\}/g, "x");
    for (const wrong of [`${filled}/`, `${filled}//`, filled.replace("/api/", "/api//")]) {
      const { status, body } = await service.org.rest(verb, wrong);
      expect([status, body.error]).toEqual([404, `no such path; the nearest is ${verb} ${path}`]);
    }
  },
);
