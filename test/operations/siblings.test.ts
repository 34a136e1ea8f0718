import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { builtInSlugs } from "#src/integrations/slug.ts";
import { importOpenApi } from "#src/operations/reader/openapi/openapi.ts";
import { shippedDescription } from "#src/operations/shipped.ts";

const described = builtInSlugs.filter((slug) => shippedDescription(slug)?.endpoints.length !== 0);

test.each(described)(
  "the document that comes with Patchbay of %s is imported without an omission",
  (slug) => {
    const url = new URL(`../../src/operations/siblings/${slug}.json`, import.meta.url);
    const imported = importOpenApi(new Uint8Array(readFileSync(url)));
    expect(imported.problems.filter(({ pointer }) => !pointer.startsWith("/servers/"))).toEqual([]);
    expect(imported.operations).toEqual(shippedDescription(slug)?.endpoints);
  },
);
