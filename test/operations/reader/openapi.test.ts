import { describe, expect, test } from "vitest";
import { ImportRefused } from "#src/operations/import/errors.ts";
import { importOpenApi } from "#src/operations/reader/openapi/openapi.ts";

function read(text: string) {
  return importOpenApi(new TextEncoder().encode(text));
}

function readJson(parts: object, openapi = "3.1.0") {
  return read(JSON.stringify({ openapi, info: { title: "Bank", version: "7" }, ...parts }));
}

const answered = { responses: { 204: { description: "Done." } } };

/** A body's schema as it is imported, and what was wrong with it. */
function schemaOf(schema: unknown, { schemas = {}, openapi = "3.1.0" } = {}) {
  const requestBody = { content: { "application/json": { schema } } };
  const imported = readJson(
    { paths: { "/a": { post: { requestBody, ...answered } } }, components: { schemas } },
    openapi,
  );
  const reasons = imported.problems.map(({ reason }) => reason);
  return { schema: imported.operations[0]?.inputSchema, definitions: imported.definitions, reasons };
}

describe("a schema becomes JSON Schema 2020-12:", () => {
  const text = { type: "string" };
  /** RE2 has no form for it. */
  const ahead = { pattern: "^(?!a)" };
  test.each([
    ["nullable", { type: "string", nullable: true }, { type: ["string", "null"] }],
    ["an enum that may be null", { enum: ["a"], nullable: true }, { enum: ["a", null] }],
    ["an exclusive bound of 3.0", { minimum: 1, exclusiveMinimum: true }, { exclusiveMinimum: 1 }],
    ["a tuple of before", { items: [text], additionalItems: false }, { prefixItems: [text], items: false }],
    ["names that are there twice", { required: ["a", "a"] }, { required: ["a"] }],
    ["an enum without values", { type: "string", enum: [] }, text],
    ["a type that is none", { type: "strnig", maxLength: 3 }, { maxLength: 3 }],
    ["a bound that is a text", { maxLength: "3", minLength: 1 }, { minLength: 1 }],
    ["null for a type in YAML", { type: ["string", null] }, { type: ["null", "string"] }],
    ["what only OpenAPI knows", { ...text, xml: {}, example: 1, externalDocs: {}, "x-a": 1 }, text],
    ["needless escapes in a pattern", { pattern: "^a\\_b\\@$" }, { pattern: "^a_b@$" }],
    ["needless escapes of a dash", { pattern: "^\\d\\-[a\\-z]\\\\-$" }, { pattern: "^\\d-[a\\-z]\\\\-$" }],
    ["a pattern that looks ahead", { ...text, pattern: "^(?!a)" }, text],
    ["a choice between what was not read and others", { oneOf: [ahead, text] }, { anyOf: [{}, text] }],
    ["what must not be and was not read", { ...text, not: ahead }, text],
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema, and nobody awaits it
    ["a condition that was not read", { ...text, if: ahead, then: false, else: false }, text],
    [
      "what all other members are, beside a pattern that was not read",
      { patternProperties: { "^(?!a)": text }, additionalProperties: false },
      { patternProperties: {} },
    ],
    [
      "what all others are, beside what was not read",
      { allOf: [ahead], unevaluatedProperties: false },
      { allOf: [{}] },
    ],
    ["what only validators of whole documents follow", { ...text, $dynamicRef: "#a" }, text],
    [
      "oneOf with a discriminator",
      { oneOf: [text], discriminator: { propertyName: "a" } },
      { anyOf: [text] },
    ],
    [
      "a member that only answers have",
      { properties: { id: { readOnly: true }, a: text }, required: ["id", "a"] },
      { properties: { id: { readOnly: true }, a: text }, required: ["a"] },
    ],
  ])("%s", (_, given, expected) => {
    expect(schemaOf(given).schema).toEqual(expected);
  });

  test("a reference that may be null is one of both, and what is beside it counts only from 3.1", () => {
    const given = { $ref: "#/components/schemas/A", nullable: true, maxLength: 3, description: "Who." };
    const schemas = { A: text };
    const ref = { $ref: "#/$defs/A" };
    expect(schemaOf(given, { schemas, openapi: "3.0.3" }).schema).toEqual({
      description: "Who.",
      anyOf: [ref, { type: "null" }],
    });
    expect(schemaOf(given, { schemas }).schema).toEqual({
      description: "Who.",
      anyOf: [{ ...ref, maxLength: 3 }, { type: "null" }],
    });
  });

  test("what is referred to is one definition, wherever it is, and refers to itself", () => {
    const schemas = {
      Tree: {
        properties: {
          left: { $ref: "#/components/schemas/Tree" },
          a: { $ref: "#/components/schemas/A%20b" },
        },
      },
      "A b": text,
    };
    const { schema, definitions, reasons } = schemaOf({ $ref: "#/components/schemas/Tree" }, { schemas });
    expect(schema).toEqual({ $ref: "#/$defs/Tree" });
    expect(Object.fromEntries(definitions)).toEqual({
      Tree: { properties: { left: { $ref: "#/$defs/Tree" }, a: { $ref: "#/$defs/A_b" } } },
      A_b: text,
    });
    expect(reasons).toEqual([]);
  });

  test("a circle that no value ends is cut", () => {
    const schemas = {
      A: { allOf: [{ $ref: "#/components/schemas/B" }] },
      B: { $ref: "#/components/schemas/A" },
    };
    const { definitions, reasons } = schemaOf({ $ref: "#/components/schemas/A" }, { schemas });
    expect(definitions.get("B")).toEqual({});
    expect(reasons).toEqual([expect.stringContaining("leads back to itself")]);
  });
});

test("kinds that refer to what they are a kind of, which refers to them, are no choice where that is cut", () => {
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
  const kindOfPet = (member: string) => ({ allOf: [ref("Pet"), { required: [member] }] });
  const schemas = {
    Cat: kindOfPet("meows"),
    Dog: kindOfPet("barks"),
    Pet: { oneOf: [ref("Cat"), ref("Dog")] },
  };
  const { definitions } = schemaOf(ref("Cat"), { schemas });
  expect(definitions.get("Pet")).toEqual({ anyOf: [{}, { $ref: "#/$defs/Dog" }] });
});

test("what is broken is listed with its place and line, and the rest is imported", () => {
  const imported = read(`
openapi: 3.1.0
info: { title: Bank }
paths:
  /accounts/{id}:
    get:
      operationId: account
      responses: { 200: { content: { application/json: { schema: { $ref: '#/components/schemas/Lost' } } } } }
    trace: {}
  /files:
    get:
      parameters:
        - { name: a, in: cookie, required: true }
    put:
      requestBody: { content: { application/json: { schema: { $ref: ./other.yaml#/A } } } }
    post:
      operationId: not an id
      parameters:
        - { name: limit, in: query, style: matrix, schema: { type: integer } }
  /${"a/".repeat(32)}b: { get: {} }
  /scopes:
    get:
      security: [{ oauth: [${Array.from({ length: 101 }, (_, n) => `s${n}`).join(", ")}] }]
webhooks: { paid: {} }
`);
  expect(
    imported.operations.map(({ method, path, operationId }) => `${method} ${path} ${operationId}`),
  ).toEqual(["GET /accounts/{id} account", "POST /files undefined"]);
  const listed = imported.problems.map(({ pointer, line, reason }) => `${line} ${pointer} ${reason}`).sort();
  expect(listed).toEqual([
    expect.stringMatching(/^11 \/paths\/~1files\/get needs the cookie parameter a, .* so it is omitted$/),
    expect.stringMatching(
      /^14 \/paths\/~1files\/put needs \$ref ".\/other.yaml#\/A", which is outside .* omitted$/,
    ),
    expect.stringMatching(
      /^15 \S*~1files\/put\S*\/\$ref \$ref ".\/other.yaml#\/A" is outside of the document/,
    ),
    expect.stringMatching(/^17 \/paths\/~1files\/post\/operationId is no id/),
    expect.stringMatching(/^19 \/paths\/~1files\/post\/parameters\/0\/style "matrix" is no style of a query/),
    expect.stringMatching(/^20 \S*~1b(?:\/get)? has more than 32 segments, so it is omitted$/),
    expect.stringMatching(/^22 \/paths\/~1scopes\/get needs more than 100 scopes, so it is omitted$/),
    expect.stringMatching(/^23 \S*\/security\/0 the security scheme "oauth" is not declared/),
    expect.stringMatching(/^24 \/webhooks 1 webhooks/),
    expect.stringMatching(/^6 \/paths\/~1accounts~1{id}\/get path parameter id is not described/),
    expect.stringMatching(
      /^8 \/paths\S*\/schema\/\$ref \$ref "#\/components\/schemas\/Lost" is not in the document/,
    ),
    expect.stringMatching(/^9 \/paths\/~1accounts~1{id}\/trace TRACE requests cannot be made/),
  ]);
});

test("the lines of JSON are known where it has several", () => {
  const paths = { "/a": { get: answered }, "/b": { get: null } };
  const document = { openapi: "3.0.0", info: { title: "T" }, paths };
  expect(read(JSON.stringify(document, null, 2)).problems).toEqual([
    { pointer: "/paths/~1b/get", line: 17, reason: "is no operation, so it is omitted" },
  ]);
  expect(read(JSON.stringify(document)).problems[0]).not.toHaveProperty("line");
});

test("lines are known behind texts of any length", () => {
  const long = `${"x".repeat(8e6)}${'\\"'.repeat(2e6)}`;
  const document = `{"openapi":"3.0.0",\n"x-a":"${long}",\n"paths":{"/b":{"get":{},"put":0}}}`;
  expect(read(document).problems).toMatchObject([{ pointer: "/paths/~1b/put", line: 3 }]);
});

test("what stands beside a reference to a path's operations is listed", () => {
  const paths = { "/a": { $ref: "#/components/pathItems/A", put: answered } };
  const { operations, problems } = readJson({ paths, components: { pathItems: { A: { get: answered } } } });
  expect(operations.map(({ method }) => method)).toEqual(["GET"]);
  expect(problems).toMatchObject([
    { pointer: "/paths/~1a/put", reason: expect.stringContaining("beside a $ref") },
  ]);
});

describe("what operations share", () => {
  const large = { enum: Array.from({ length: 100 }, (_, i) => `value ${i}`) };

  test("is stored once, wherever it is referred to", () => {
    const get = { parameters: [{ $ref: "#/components/parameters/large" }], ...answered };
    const { operations, definitions } = readJson({
      paths: { "/a": { get }, "/b": { get } },
      components: { parameters: { large: { name: "large", in: "query", schema: large } } },
    });
    const schemas = operations.map(({ parameters: [parameter] }) => parameter?.schema);
    expect(schemas).toEqual([
      { $ref: "#/$defs/parameters.large.schema" },
      { $ref: "#/$defs/parameters.large.schema" },
    ]);
    expect(definitions.get("parameters.large.schema")).toEqual(large);
  });

  test("changes the fingerprint of those that use it, and no order of members does", () => {
    const document = (values: string[], swapped: boolean) => {
      const post = {
        requestBody: { content: { "application/json": { schema: { $ref: "#/components/schemas/A" } } } },
        ...answered,
      };
      const info = { get: answered };
      const paths = swapped ? { "/b": info, "/a": { post } } : { "/a": { post }, "/b": info };
      return { paths, components: { schemas: { A: { enum: values } } } };
    };
    const prints = (values: string[], swapped = false) =>
      readJson(document(values, swapped)).operations.map(({ fingerprint }) => fingerprint);
    const [a, b] = prints(["x"]);
    expect(prints(["x"], true)).toEqual([a, b]);
    expect(prints(["y"])).toEqual([expect.not.stringMatching(`^${a}$`), b]);
  });
});

test("an operation whose id another one has is named by method and path, needs all scopes of its first way to sign in, and has all its answers", () => {
  const response = (type: string) => ({ content: { "application/json": { schema: { type } } } });
  const operation = {
    operationId: "twice",
    security: [{ oauth: ["a:view", "b:view"] }, {}],
    responses: { 200: response("string"), 202: response("object"), 400: response("array") },
  };
  const { operations } = readJson({
    paths: { "/a": { get: operation, post: { ...operation, security: [] } } },
  });
  expect(operations).toMatchObject([
    {
      name: "GET /a",
      scopes: ["a:view", "b:view"],
      outputSchema: { anyOf: [{ type: "string" }, { type: "object" }] },
    },
    { scopes: [] },
  ]);
  expect(operations.map(({ operationId }) => operationId)).toEqual([undefined, undefined]);
});

test("Swagger 2.0 is read as it is, with its forms, lists and references", () => {
  const imported = read(`
swagger: "2.0"
info: { title: Old bank, version: 1 }
host: bank.example
basePath: /v1
schemes: [https]
consumes: [application/json]
securityDefinitions: { key: { type: apiKey, in: header, name: X-Key } }
security: [{ key: [] }]
parameters:
  payment: { name: payment, in: body, required: true, schema: { $ref: '#/definitions/Payment' } }
definitions:
  Payment: { type: object, properties: { amount: { type: integer, x-nullable: true } } }
paths:
  /payments:
    post:
      parameters: [{ $ref: '#/parameters/payment' }]
      responses: { 201: { schema: { $ref: '#/definitions/Payment' } } }
    get:
      parameters:
        - { name: ids, in: query, required: true, type: array, items: { type: string } }
        - { name: tags, in: query, type: array, collectionFormat: multi, items: { type: string } }
      responses: { 200: { schema: { type: file } } }
  /scans:
    parameters: [{ name: note, in: formData, type: integer, required: true }]
    post:
      consumes: [multipart/form-data]
      parameters:
        - { name: scan, in: formData, type: file, required: true }
        - { name: note, in: formData, type: string, maxLength: 9 }
      responses: {}
`);
  expect(imported.problems).toEqual([]);
  expect(imported).toMatchObject({
    format: "swagger-2.0",
    table: "3.0",
    definition: { name: "Old bank", baseUrl: "https://bank.example/v1", authMethods: [{ type: "api_key" }] },
  });
  expect(imported.definitions.get("Payment")).toMatchObject({
    properties: { amount: { type: ["integer", "null"] } },
  });
  const texts = { type: "array", items: { type: "string" } };
  expect(imported.operations).toMatchObject([
    {
      method: "GET",
      parameters: [
        { name: "ids", in: "query", required: true, explode: false, schema: texts },
        { name: "tags", required: false, explode: true, schema: texts },
      ],
      outputSchema: undefined,
    },
    {
      method: "POST",
      body: { contentType: "application/json", required: true },
      inputSchema: { $ref: "#/$defs/Payment" },
      outputSchema: { $ref: "#/$defs/Payment" },
    },
    {
      path: "/scans",
      body: { contentType: "multipart/form-data", required: true, encoding: { scan: { isBytes: true } } },
      inputSchema: { required: ["scan"], properties: { note: { type: "string", maxLength: 9 } } },
    },
  ]);
});

describe("refused is", () => {
  test.each([
    ["what is no document", "hello", "the document is no object"],
    ["what is neither JSON nor YAML", '{"a": [1, }', "line 1, column"],
    ["what was cut off on its way", '{"openapi": "3.1.0", "paths": {"/a": {', "does not end with }"],
    ["a document of another kind", '{"asyncapi": "3.0.0"}', "neither openapi nor swagger"],
    ["a version that is not known", '{"openapi": "4.0.0"}', 'OpenAPI "4.0.0" is not known'],
    ["one without operations", '{"openapi": "3.1.0", "paths": {"a": {}}}', "leaves no operation to import; "],
    [
      "one that is nested too deeply",
      `{"a":${"[".repeat(1000)}${"]".repeat(1000)}}`,
      "deeper than 64 levels",
    ],
    ["an alias in what it stands for", "a: &a [*a]", "is in what it stands for"],
  ])("%s", (_, text, message) => {
    const refused = () => read(text);
    expect(refused).toThrow(ImportRefused);
    expect(refused).toThrow(message);
  });
});

test("a schema that is too large with what it refers to is left out, and its operation stays", () => {
  const schemas = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [
      `L${i}`,
      { description: "x".repeat(20_000), items: { $ref: `#/components/schemas/L${i + 1}` } },
    ]),
  );
  const { schema, reasons } = schemaOf(
    { $ref: "#/components/schemas/L0" },
    { schemas: { ...schemas, L40: true } },
  );
  expect(schema).toBeUndefined();
  expect(reasons).toEqual([expect.stringContaining("larger than 512 KiB")]);
});

test("a schema that refers to the next twice, and so on, is read once each", () => {
  const next = (i: number) => ({ $ref: `#/components/schemas/L${i + 1}` });
  const schemas = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [`L${i}`, { properties: { a: next(i), b: next(i) } }]),
  );
  const { definitions } = schemaOf({ $ref: "#/components/schemas/L0" }, { schemas: { ...schemas, L40: {} } });
  expect(definitions.size).toBe(41);
});

test("a schema's own definitions are found though it is a part of a document now", () => {
  const { schema, definitions, reasons } = schemaOf({
    $defs: { tree: { properties: { inner: { $ref: "#/$defs/tree" } } } },
    $ref: "#/$defs/tree",
  });
  expect(reasons).toEqual([]);
  const [[name, tree] = []] = definitions;
  expect(schema).toEqual({ $ref: `#/$defs/${name}` });
  expect(tree).toEqual({ properties: { inner: { $ref: `#/$defs/${name}` } } });
});
