import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { requireSound } from "#src/integrations/definition.ts";
import type { AuthMethod, Integration, Placeholder } from "#src/integrations/integration.ts";
import { standardMethods } from "#src/integrations/standard.ts";
import type { DerivedDefinition } from "#src/operations/import/imported.ts";
import { mergeDefinition } from "#src/operations/import/merge-definition.ts";
import { readBaseUrl } from "#src/outbound/base-url.ts";
import { AddressDenied } from "#src/outbound/errors.ts";
import { atOnce } from "#src/platform/in-turns.ts";

const key = (id: string, header = "X-Key"): AuthMethod => ({
  id,
  type: "api_key",
  label: "Key",
  fields: [{ name: "key", secret: true }],
  inject: { headers: { [header]: "{key}" } },
});
const said = (more: Partial<DerivedDefinition> = {}): DerivedDefinition => ({
  name: "Bank",
  baseUrl: "https://bank.example",
  authMethods: [key("key")],
  ...more,
});
const tenant: Placeholder = { in: "host", pattern: "^[a-z]+$", example: "acme" };
const withTenant = { baseUrl: "https://{tenant}.bank.example", placeholders: { tenant } };

function merge(
  own: Integration | undefined,
  previous: DerivedDefinition | undefined,
  derived: DerivedDefinition,
) {
  const merged = atOnce(mergeDefinition("custom:bank", { own, previous }, derived, readBaseUrl));
  const integration = merged.next ?? own;
  if (integration === undefined) throw new Error("nothing was made of the document");
  return { ...merged, integration };
}

const first = (derived = said()) => merge(undefined, undefined, derived).integration;

test("the first import defines the integration", () => {
  const { next, changes } = merge(undefined, undefined, said(withTenant));
  expect(next).toEqual({ slug: "custom:bank", ...said(withTenant), version: 1 });
  expect(changes).toEqual([
    'the integration "Bank" is new',
    "the base URL is https://{tenant}.bank.example now",
    "the placeholder tenant is new",
    "the auth method key is new",
  ]);
});

test("a document that names no way to sign in gives the usual ones, until it names some", () => {
  const own = first(said({ authMethods: [] }));
  expect(own.authMethods).toEqual(standardMethods);
  expect(merge(own, said({ authMethods: [] }), said()).integration.authMethods).toEqual([key("key")]);
});

test("what the previous import gave becomes what the document says now", () => {
  const previous = said({ ...withTenant, authMethods: [key("key"), key("old")] });
  const derived = said({
    name: "Bank 2",
    baseUrl: "https://new.example",
    authMethods: [key("new"), key("key", "X-New")],
  });
  const { next, changes } = merge(first(previous), previous, derived);
  expect(next).toEqual({
    ...{ slug: "custom:bank", name: "Bank 2", baseUrl: "https://new.example", version: 2 },
    authMethods: [key("key", "X-New"), key("new")],
  });
  expect(changes).toEqual([
    'the name is "Bank 2" now',
    "the base URL is https://new.example now, and was https://{tenant}.bank.example",
    "the placeholder tenant is gone",
    "the auth method key is another now",
    "the auth method old is gone",
    "the auth method new is new",
  ]);
});

test("what a person changed stays, and is said", () => {
  const previous = said({ ...withTenant, authMethods: [key("key"), key("old")] });
  const own: Integration = {
    ...first(previous),
    name: "Our bank",
    baseUrl: "https://{tenant}.our.example",
    placeholders: { tenant: { ...tenant, pattern: "^[a-z]{4}$" } },
    authMethods: [key("key", "X-Ours"), key("old", "X-Ours"), key("mine")],
    docs: "https://docs.example",
  };
  const derived = said({
    ...withTenant,
    baseUrl: "https://{tenant}.new.example",
    authMethods: [key("key", "X-New")],
  });
  const { next, changes } = merge(own, previous, derived);
  expect(next).toBeUndefined();
  expect(changes).toEqual([
    'the name stays "Our bank"; the document says "Bank"',
    "the placeholder tenant stays as it was changed; the document says otherwise",
    "the base URL stays https://{tenant}.our.example; the document says https://{tenant}.new.example",
    "the auth method key stays as it was changed; the document says otherwise",
    "the auth method old stays as it was changed; the document no longer has it",
  ]);
});

test("an integration that a person wrote keeps all that is in it, and gets what is absent", () => {
  const { baseUrl: _, ...own } = { ...first(), authMethods: [...standardMethods] };
  const { next } = merge(own, undefined, said());
  expect(next).toEqual({
    ...own,
    baseUrl: "https://bank.example",
    authMethods: [...standardMethods, key("key")],
    version: 2,
  });
});

describe("a part that is refused is left out, and the rest is taken:", () => {
  test("a base URL that this deployment may not call", () => {
    const local = said({ baseUrl: "http://localhost:3000" });
    const deny = (url: string) => {
      if (new URL(url).hostname === "localhost") throw new AddressDenied("localhost", "invalid_argument");
    };
    const { next, changes } = atOnce(
      mergeDefinition("custom:bank", { own: undefined, previous: undefined }, local, deny),
    );
    expect(next).toEqual({ slug: "custom:bank", name: "Bank", authMethods: [key("key")], version: 1 });
    expect(changes).toContainEqual(
      expect.stringMatching(
        /^the base URL http:\/\/localhost:3000 is not taken from the document: localhost may not be/,
      ),
    );
  });

  test("a method that does not go with what a person added", () => {
    const own: Integration = { ...first(), optionalHeaders: { token: "^x$" } };
    const token: AuthMethod = {
      ...key("token"),
      fields: [{ name: "token", secret: true }],
      inject: { headers: { X: "{token}" } },
    };
    const { next, changes } = merge(own, said(), said({ authMethods: [key("key", "X-New"), token] }));
    expect(next?.authMethods).toEqual([key("key", "X-New")]);
    expect(changes).toContainEqual(
      expect.stringMatching(/^the auth method token is not taken .* token is there twice$/),
    );
  });

  test("which is not taken for a person's change when the next document can be taken", () => {
    const broken = said({ baseUrl: "ftp://bank.example", authMethods: [key("key", "Host")] });
    const refused = merge(first(), said(), broken);
    expect(refused.next).toBeUndefined();
    const derived = said({ baseUrl: "https://new.example", authMethods: [key("key", "X-New")] });
    expect(merge(first(), refused.given, derived).next).toEqual({ ...first(derived), version: 2 });
  });

  test("more methods than an integration has", () => {
    const many = Array.from({ length: 9 }, (_, i) => key(`k${i}`));
    const own: Integration = { ...first(), authMethods: [key("mine"), key("own")] };
    const { integration, changes } = merge(own, undefined, said({ authMethods: many }));
    expect(integration.authMethods).toHaveLength(10);
    expect(changes).toContainEqual(
      "the auth method k8 is not taken from the document: an integration has at most 10",
    );
  });
});

describe("whatever was imported, changed by a person and imported again,", () => {
  const definition = fc
    .record({
      name: fc.constantFrom("Bank", "Bank 2"),
      place: fc.constantFrom({}, { baseUrl: "https://bank.example" }, withTenant, {
        ...withTenant,
        baseUrl: "https://{tenant}.bank.example/{v}",
        placeholders: { tenant, v: { in: "path", enum: ["1"], example: "1" } },
      } as const),
      authMethods: fc.uniqueArray(
        fc.record({ id: fc.constantFrom("a", "b", "c"), header: fc.constantFrom("X-1", "X-2") }),
        { selector: ({ id }) => id, maxLength: 3 },
      ),
    })
    .map(({ name, place, authMethods }): DerivedDefinition => ({
      ...{ name, ...place },
      authMethods: authMethods.map(({ id, header }) => key(id, header)),
    }));
  const edit = fc.option(definition, { nil: undefined });

  test("the integration is sound, keeps what the person changed, and a second import changes nothing", () => {
    fc.assert(
      fc.property(definition, edit, definition, (previous, edited, derived) => {
        const own = { ...(edited === undefined ? first(previous) : first(edited)), version: 7 };
        const { next, integration, given } = merge(own, previous, derived);
        atOnce(requireSound(integration, readBaseUrl));
        expect(integration.version).toBe(next === undefined ? 7 : 8);
        expect(integration.authMethods.length).toBeGreaterThan(0);
        for (const method of own.authMethods) {
          const isImported = [...previous.authMethods, ...standardMethods].some(
            (one) => JSON.stringify(one) === JSON.stringify(method),
          );
          if (!isImported) expect(integration.authMethods).toContainEqual(method);
        }
        if (own.baseUrl !== undefined && own.baseUrl !== previous.baseUrl)
          expect(integration.baseUrl).toBe(own.baseUrl);
        expect(given).toEqual(derived);
        expect(merge(integration, given, derived).next).toBeUndefined();
        if (edited === undefined)
          expect(integration).toEqual({
            ...first(derived),
            version: integration.version,
            authMethods: expect.arrayContaining([...first(derived).authMethods]),
          });
      }),
      { numRuns: 500 },
    );
  });
});
