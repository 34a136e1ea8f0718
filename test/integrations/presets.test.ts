import { Ajv2020 } from "ajv/dist/2020.js";
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import schema from "#src/integrations/presets.schema.json" with { type: "json" };
import { requireSound } from "#src/integrations/definition.ts";
import { responseQuirks, type AuthMethod } from "#src/integrations/integration.ts";
import { oauthUrls } from "#src/integrations/oauth-urls.ts";
import { matchesWhole } from "#src/integrations/patterns.ts";
import { findPreset, presets, type Preset } from "#src/integrations/presets.ts";
import { placeholdersOf, prepare, type Prepared } from "#src/integrations/recipe.ts";
import { isBuiltIn } from "#src/integrations/slug.ts";
import { valuesSchema } from "#src/integrations/values-schema.ts";
import { namesIn } from "#src/integrations/templates.ts";
import { readBaseUrl } from "#src/outbound/base-url.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { atOnce } from "#src/platform/in-turns.ts";
import { hostileValues } from "./hostile-values.ts";

const ajv = new Ajv2020({
  strict: true,
  strictRequired: false,
  allowUnionTypes: true,
  formats: { date: /^\d{4}-\d{2}-\d{2}$/ },
});
const isPreset = ajv.compile(schema);

const usable = presets.flatMap((preset) =>
  preset.authMethods
    .filter(({ unsupported }) => unsupported === undefined)
    .map((method) => ({ name: `${preset.slug}, ${method.id}`, preset, method: withoutPatterns(method) })),
);

/** Any text is good for its fields: here it is about the placeholders. */
function withoutPatterns(method: AuthMethod): AuthMethod {
  return { ...method, fields: method.fields.map(({ name, secret }) => ({ name, secret })) };
}

/** What is made of the examples, but for one value. */
function preparedWith(preset: Preset, method: AuthMethod, one: Record<string, string> = {}): Prepared {
  const placeholders = placeholdersOf(preset, method).map((name) => [
    name,
    preset.placeholders?.[name]?.example,
  ]);
  const fields = method.fields.map(({ name }) => [name, "x"]);
  return prepare(preset, method, { values: { ...Object.fromEntries([...placeholders, ...fields]), ...one } });
}

/** Everywhere that something of the connection is sent to. */
function urlsOf({ baseUrl, recipe }: Prepared): URL[] {
  return [baseUrl, ...Object.values(oauthUrls(recipe.method.oauth2))].map((url) => new URL(url));
}

/** What stands literally behind the last free value in the host. */
function literalEnd(preset: Preset, template: string): string {
  const [authority = ""] = template.replace("https://", "").split("/", 1);
  const literal = namesIn(authority).reduce((text, name) => {
    const { enum: list, example } = preset.placeholders?.[name] ?? {};
    return list === undefined ? text : text.replace(`{${name}}`, example ?? "");
  }, authority);
  return literal.split("}").at(-1) ?? "";
}

test("every file is in the list, in the order of the slugs", () => {
  const files = readdirSync("src/integrations/presets").map((file) => file.replace(/\.json$/, ""));
  expect(presets.map(({ slug }) => slug)).toEqual(files.toSorted());
  expect(findPreset("github")).toBe(presets.find(({ slug }) => slug === "github"));
  expect(presets.filter(({ slug }) => isBuiltIn(slug))).toEqual([]);
});

describe.each(presets)("$slug", (preset) => {
  test("is what the schema says", () => {
    isPreset(preset);
    expect(isPreset.errors).toBeNull();
  });

  test("is sound: pinned hosts, patterns of RE2, own headers, and nothing that nobody declares", () => {
    atOnce(requireSound(preset, readBaseUrl));
  });

  test("was reviewed at least 30 days before anything that the service has announced", () => {
    for (const { date } of preset.deadlines ?? []) {
      expect(Date.parse(date) - Date.parse(preset.reviewed)).toBeGreaterThan(30 * 24 * 3_600_000);
    }
  });

  test("speaks in quirks that are understood", () => {
    const quirks = preset.authMethods.flatMap(({ oauth2 }) => oauth2?.responseQuirks ?? []);
    expect(quirks.filter((quirk) => !responseQuirks.includes(quirk))).toEqual([]);
  });
});

test("no hostile value of any placeholder changes the literal domain, the port or the number of path segments", () => {
  let refused = 0;
  let tried = 0;
  for (const { preset, method, name } of usable) {
    const usual = urlsOf(preparedWith(preset, method));
    const ends = [method.baseUrl ?? preset.baseUrl ?? "", ...Object.values(oauthUrls(method.oauth2))].map(
      (url) => literalEnd(preset, url),
    );
    for (const placeholder of placeholdersOf(preset, method)) {
      for (const value of hostileValues) {
        tried++;
        const prepared = accepted(() => preparedWith(preset, method, { [placeholder]: value }));
        if (prepared === undefined) refused++;
        for (const [i, url] of urlsOf(prepared ?? preparedWith(preset, method)).entries()) {
          expect(url, name).toMatchObject({
            protocol: "https:",
            port: "",
            username: "",
            search: "",
            hash: "",
          });
          expect(url.hostname.endsWith(ends[i] ?? "?"), `${name}: ${url.href}`).toBe(true);
          expect(url.pathname.split("/").length, name).toBe(usual[i]?.pathname.split("/").length);
        }
      }
    }
  }
  expect(tried).toBeGreaterThan(400);
  expect(refused / tried).toBeGreaterThan(0.9);
});

/** The result; undefined for a value that is refused. */
function accepted<T>(prepare: () => T): T | undefined {
  try {
    return prepare();
  } catch (error) {
    if (error instanceof InvalidRequest) return undefined;
    throw error;
  }
}

test.each([
  ["github", 40],
  ["sentry", 64],
  ["digitalocean", 64],
])("a token of %s from before it had prefixes, %i hex digits, is taken", (slug, length) => {
  const preset = findPreset(slug)!;
  const method = preset.authMethods.find(({ id }) => id === "token")!;
  const given = (token: string) => prepare(preset, method, { values: { token } }).secrets["token"];
  expect(given("0123456789abcdef".repeat(4).slice(0, length))).toHaveLength(length);
  expect(() => given("my-password")).toThrow(/^token: /);
});

test.each([
  ["salesforce", "https://acme--dev.sandbox.my.salesforce.com", "https://my.salesforce.com.evil.example"],
  ["salesforce", "https://acme.my.salesforce.com", "http://acme.my.salesforce.com"],
  ["zoho", "https://www.zohoapis.eu", "https://www.zohoapis.evil.example"],
])("a connection of %s takes the base URL %s from the service, and not %s", (slug, good, bad) => {
  const preset = findPreset(slug)!;
  const { baseUrlFrom } = preparedWith(preset, preset.authMethods[0]!).recipe;
  expect(matchesWhole(baseUrlFrom!.mustMatch, good)).toBe(true);
  expect(matchesWhole(baseUrlFrom!.mustMatch, bad)).toBe(false);
});

test.each(usable)("$name says by a schema what a connection gives", ({ preset, method }) => {
  const isGiven = ajv.compile(valuesSchema(preset, method));
  const { params, secrets } = preparedWith(preset, method);
  expect(isGiven({ ...params, ...secrets }), JSON.stringify(isGiven.errors)).toBe(true);
  expect(isGiven({ ...params, ...secrets, unknown: "x" })).toBe(false);
  for (const [name, { pattern }] of Object.entries(preset.placeholders ?? {})) {
    if (pattern !== undefined && name in params)
      expect(isGiven({ ...params, ...secrets, [name]: "/" })).toBe(false);
  }
  for (const { name } of method.fields) expect(isGiven({ ...params, [name]: 1 })).toBe(false);
});

test.each(usable)("$name can be connected with its examples, and sends nothing but what was given", (one) => {
  const { baseUrl, recipe, params, secrets } = preparedWith(one.preset, one.method);
  expect(baseUrl).toMatch(/^https:\/\/[^{}]+$/);
  expect(JSON.stringify([recipe.headers, recipe.probe?.path, oauthUrls(recipe.method.oauth2)])).not.toMatch(
    /\{[A-Za-z]+\}/,
  );
  expect(Object.keys({ ...params, ...secrets })).toEqual(
    expect.arrayContaining(one.method.fields.map(({ name }) => name)),
  );
});
