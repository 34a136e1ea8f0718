import fc from "fast-check";
import { expect, test } from "vitest";
import { readBaseUrl } from "#src/outbound/base-url.ts";
import { requestTarget } from "#src/outbound/path.ts";
import { ServiceError } from "#src/platform/errors.ts";

const harmless = "a b / /a /api /a%2Fb /x;v=1 /...".split(" ");
const odd =
  String.raw`/ // \ . .. ; @ : ? # % %2e %2E %252e %2f %5c %00 %25 http: https:// evil.example 127.0.0.1 [::1] :80 %c0%ae`
    .split(" ")
    .concat(" ", "\t", "\r\n", "\u0000", "\u00ad", "é", "。", "．", "%ef%bc%8e");
const piece = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...harmless) },
  { weight: 4, arbitrary: fc.constantFrom(...odd) },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
);
const text = fc.array(piece, { maxLength: 6 }).map((parts) => parts.join(""));

/** The result of a check; undefined if it refused. Anything thrown that is no refusal fails the test. */
function accepted<T>(check: () => T): T | undefined {
  try {
    return check();
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

test("no base URL and path that pass the checks lead to another origin or out of the base path", () => {
  let sent = 0;
  const base = fc.oneof(
    text.map((rest) => `http://ok.example${rest}`),
    text.map((rest) => `http://ok.example/api${rest}`),
    text.map((rest) => `https://${rest}`),
    text,
  );
  const path = fc.oneof(
    text.map((rest) => `/${rest}`),
    text,
  );
  fc.assert(
    fc.property(base, path, (raw, rest) => {
      const url = accepted(() => readBaseUrl(raw));
      const target = url && accepted(() => requestTarget(url.path, rest, []));
      if (url === undefined || target === undefined) return;
      sent++;
      const seen = new URL(url.origin + target);
      expect(seen.origin).toBe(url.origin);
      expect(seen.hostname.replace(/^\[(.*)\]$/, "$1")).toBe(url.host);
      expect(seen.pathname).toBe(target);
      expect(`${seen.pathname}/`.startsWith(`${url.path}/`)).toBe(true);
      // Nor for a service that decodes once or twice more than it should, and resolves what it finds.
      for (let form = target, level = 0; level < 3; level++) {
        form = form.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
        expect(hasDots(form)).toBe(false);
      }
    }),
    { numRuns: 5_000 },
  );
  expect(sent).toBeGreaterThan(200);
});

test.each([
  ["http://ok.example/graphql", "", "/graphql"],
  ["http://ok.example/graphql", "/", "/graphql/"],
  ["http://ok.example/graphql/", "", "/graphql"],
  ["http://ok.example", "", "/"],
  ["http://ok.example/", "/", "/"],
])("%s with the path %j is asked as %s", (base, path, target) => {
  expect(requestTarget(readBaseUrl(base).path, path, [])).toBe(target);
  expect(requestTarget(readBaseUrl(base).path, path, [["q", "1"]])).toBe(`${target}?q=1`);
});

test("a query arrives as it was given, whatever is in it", () => {
  const pair = fc.tuple(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }));
  fc.assert(
    fc.property(fc.array(pair), (query) => {
      const target = accepted(() => requestTarget("/api", "/x", query));
      if (/[\0\r\n]/.test(query.flat().join(""))) return expect(target).toBeUndefined();
      expect(target).toMatch(/^\/api\/x(\?[\x21-\x7e]*)?$/);
      expect([...new URL(`http://ok.example${target}`).searchParams]).toEqual(query);
    }),
  );
});

function hasDots(path: string): boolean {
  return path.split(/[/\\]/).some((segment) => segment === "." || segment === "..");
}
