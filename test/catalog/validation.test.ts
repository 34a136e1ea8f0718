import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { storeImport } from "../support/imports.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  for (const serviceSlug of ["aml", "custom:shop", "custom:plain"]) {
    await service.org.client.connections.upsertServiceConnection({
      ...{ serviceSlug, baseUrl: upstream.url, apiKey: "k" },
    });
  }
  await storeImport(service.postgres, {
    orgId: service.org.orgId,
    slug: "custom:shop",
    operations: [
      {
        ...{ method: "POST", path: "/orders/{shop}", operationId: "createOrder" },
        parameters: [
          { name: "shop", in: "path", required: true, schema: { $ref: "#/$defs/Shop" } },
          { name: "dry_run", in: "query", required: false, schema: { type: "boolean" } },
          { name: "raw", in: "query", required: false, schema: {}, allowReserved: true },
        ],
        body: { contentType: "application/json", required: true },
        inputSchema: { $ref: "#/$defs/Order" },
      },
      { method: "GET", path: "/orders", operationId: "listOrders" },
      {
        ...{ method: "PUT", path: "/odd" },
        body: { contentType: "application/json", required: false },
        inputSchema: { $ref: "#/$defs/Gone" },
      },
    ],
    definitions: {
      Shop: { type: "string", maxLength: 4 },
      Order: {
        type: "object",
        required: ["state", "amount"],
        additionalProperties: false,
        properties: {
          state: { enum: ["open", "closed"] },
          amount: { type: "integer" },
          note: { anyOf: [{ type: "string", maxLength: 3 }, { type: "null" }] },
        },
      },
    },
  });
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const order = { path: { shop: "main" }, body: { state: "open", amount: 1, note: null } };
const create = "custom:shop/createOrder";

const validate = async (actionIdentifier: string, input: object, by: Presenter = service.org) =>
  by.rest("POST", "/api/actions/validate", { actionIdentifier, input });
const references = async (...wanted: object[]) => {
  const { body } = await service.org.rest("POST", "/api/actions/validate-references", { references: wanted });
  return body.data;
};

describe("input", () => {
  test("that a call would take is valid, and nothing is called", async () => {
    const before = upstream.asked.length;
    expect((await validate(create, order)).body.data).toStrictEqual({ valid: true, problems: [] });
    expect(upstream.asked.length).toBe(before);
  });

  test.each<[string, object, object[]]>([
    [
      "a misspelt parameter and a misspelt path variable",
      { ...order, path: { shp: "main" }, query: { dryrun: true } },
      [
        { pointer: "/path/shop", reason: "is missing; shp was given" },
        { pointer: "/path/shp", reason: "is unknown", suggestion: "shop" },
        { pointer: "/query/dryrun", reason: "is unknown", suggestion: "dry_run" },
      ],
    ],
    [
      "a parameter that a shared definition does not allow",
      { ...order, path: { shop: "main street" } },
      [{ pointer: "/path/shop", reason: "must NOT have more than 4 characters" }],
    ],
    [
      "a misspelt member and a misspelt value",
      { ...order, body: { state: "opne", amonut: 1, amount: 1 } },
      [
        { pointer: "/body/amonut", reason: "is unknown", suggestion: "amount" },
        { pointer: "/body/state", reason: 'must be one of "open", "closed"', suggestion: "open" },
      ],
    ],
    [
      "what may be null, and is neither null nor right",
      { ...order, body: { ...order.body, note: "long" } },
      [{ pointer: "/body/note", reason: "must NOT have more than 3 characters" }],
    ],
    [
      "a value that has no form in a path",
      { ...order, path: { shop: ".." } },
      [{ pointer: "/path/shop", reason: expect.stringContaining("the segments . and .. are not sent") }],
    ],
    [
      "a line break in a query",
      { ...order, query: { raw: "a\nb" } },
      [{ pointer: "/query/raw", reason: "has a line break or NUL, which is not sent" }],
    ],
    [
      "an encoded one",
      { ...order, query: { raw: "a%0Ab" } },
      [{ pointer: "/query/raw", reason: "has a line break or NUL, which is not sent" }],
    ],
    [
      "a line break in a header",
      { ...order, header: { "x-note": "a\r\nx-evil: b" } },
      [
        {
          pointer: "/header/x-note",
          reason: "has line breaks, control or non-Latin-1 characters, which are not sent",
        },
      ],
    ],
    [
      "no name of a header",
      { ...order, header: { "x note": "a" } },
      [{ pointer: "/header/x note", reason: "has characters that header names cannot have" }],
    ],
    [
      "a header given twice",
      { ...order, header: { "x-note": "a", "X-Note": "b" } },
      [{ pointer: "/header/X-Note", reason: "is given twice, in different letter case" }],
    ],
  ])("with %s is answered with the places", async (_, input, problems) => {
    expect((await validate(create, input)).body.data).toStrictEqual({ valid: false, problems });
    const called = await service.org.rest("POST", "/api/actions/call", { actionIdentifier: create, input });
    expect([called.status, called.headers.get("x-error-reason")]).toStrictEqual([400, "INVALID_INPUT"]);
  });

  test.each([
    ["custom:plain/GET /x", {}, "the catalog does not describe the service"],
    ["custom:shop/PUT /odd", { body: 1 }, "/body: its schema cannot be used: can't resolve reference"],
  ])("of %s is said not to be checked, and may be called", async (actionIdentifier, input, why) => {
    const { data } = (await validate(actionIdentifier, input)).body;
    expect(data).toStrictEqual({
      valid: true,
      problems: [],
      notChecked: expect.stringContaining(why) as string,
    });
    const called = await service.org.rest("POST", "/api/actions/call", { actionIdentifier, input });
    expect(called.status).toBe(200);
  });

  test.each([
    [
      "an operation that there is not",
      "custom:shop/creatOrder",
      /UNKNOWN_ACTION .*custom:shop\/createOrder\?/,
    ],
    ["a service that is not connected", "identity/whoAmI", /NOT_FOUND service is not connected/],
  ])("for %s is refused", async (_, actionIdentifier, refusal) => {
    const { status, headers, body } = await validate(actionIdentifier, {});
    expect(status).toBe(404);
    expect(`${headers.get("x-error-reason")} ${body.error}`).toMatch(refusal);
  });

  test("of a well-known service, whose connections have no slug, is validated once one is connected", async () => {
    expect((await validate("github/GET /user", {})).body.error).toMatch(/service is not connected/);
    const wanted = { integration: "github", authMethod: "token", credentials: { token: "ghp_0123456789" } };
    await service.org.client.connections.createConnection(wanted);
    expect((await validate("github/GET /user", {})).body.data).toMatchObject({ valid: true });
  });

  test("for a connection that the caller's key may not know of looks like one for none", async () => {
    const rights = [{ connection: { case: "slug" as const, value: "aml" } }];
    const wanted = { name: "limited", scopes: ["catalog:view"], connections: { rights } };
    const limited = service.as((await service.org.client.apiKeys.createApiKey(wanted)).secret);
    expect((await validate(create, order, limited)).body.error).toMatch(/service is not connected/);
    expect((await validate("aml/submitSarFiling", { path: { id: "1" } }, limited)).status).toBe(200);
    const other = await service.newOrganization("globex");
    expect((await validate(create, order, other)).body.error).toMatch(/service is not connected/);
  });
});

describe("the references of a workflow", () => {
  const right = { service: "custom:shop", operation: "createOrder", input: order };

  test("are valid if each names an operation, with an input that fits or none yet", async () => {
    const byPath = { service: "custom:shop", operation: "POST /orders/{shop}" };
    expect(
      await references(right, byPath, {
        ...right,
        service: "aml",
        operation: "submitSarFiling",
        input: { path: { id: "1" } },
      }),
    ).toStrictEqual({
      valid: true,
      results: Array(3).fill({ valid: true, problems: [] }),
    });
  });

  test.each<[string, object, object]>([
    [
      "a misspelt service",
      { service: "custom:shpo" },
      { pointer: "/service", reason: "is not connected", suggestion: "custom:shop" },
    ],
    ["no service", { service: "" }, { pointer: "/service", reason: "is not connected" }],
    [
      "a misspelt operation",
      { operation: "createOrdre" },
      { pointer: "/operation", reason: "is unknown", suggestion: "createOrder" },
    ],
    [
      "a misspelt path",
      { operation: "GET /order" },
      { pointer: "/operation", reason: "is unknown", suggestion: "GET /orders" },
    ],
    [
      "no operation",
      { operation: "" },
      { pointer: "/operation", reason: "is neither an operationId nor <METHOD> <path template>" },
    ],
    [
      "an input that does not fit",
      { input: { ...order, body: { state: "open" } } },
      { pointer: "/input/body/amount", reason: "is missing" },
    ],
  ])("with %s are answered with its place, and the others are valid", async (_, wrong, problem) => {
    expect(await references(right, { ...right, ...wrong }, right)).toStrictEqual({
      valid: false,
      results: [
        { valid: true, problems: [] },
        { valid: false, problems: [problem] },
        { valid: true, problems: [] },
      ],
    });
  });
});
