import type { JsonObject } from "@bufbuild/protobuf";
import { validate } from "@scalar/openapi-parser";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { toHttpFailure } from "#src/pipeline/failures.ts";
import { takesIdempotencyKey } from "#src/pipeline/policy.ts";
import { createPublicCalls } from "#src/pipeline/public-calls.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { restRoutes } from "#src/rest/binding.ts";
import { openApiOf } from "#src/rest/openapi.ts";
import { createPages } from "#src/rest/pages.ts";
import { generateOpenApi } from "../../scripts/generate-openapi.ts";
import { library, unsayable } from "./support.ts";

const committed = readFileSync("gen/openapi.json", "utf8");

const contracts = Object.values(services);

/** The value at the end of a way through a document. */
function at(document: unknown, ...way: (string | number)[]): unknown {
  return way.reduce<unknown>((value, step) => (value as Record<string | number, unknown>)[step], document);
}

test("the committed document is what the contracts say: run `npm run generate` and review the difference", () => {
  expect(generateOpenApi()).toBe(committed);
});

test.each<[which: string, document: JsonObject]>([
  ["the committed document", JSON.parse(committed) as JsonObject],
  ["the document of every kind of template and field", openApiOf([library], "1")],
])("%s is valid OpenAPI", async (_, document) => {
  expect(await validate(document)).toMatchObject({ valid: true, errors: [] });
});

test("the document has every route and page that is served, the proxy, and no other", () => {
  const routes = restRoutes(contracts).map(({ httpMethod, template }) => `${httpMethod} ${template.text}`);
  const publicCalls = createPublicCalls(createRateLimiter(() => new Date()));
  const pipeline = { publicCalls, failureOf: toHttpFailure };
  const pages = [...createPages({ problem: undefined }, pipeline).keys()].map((path) => `GET ${path}`);
  const proxied = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].map(
    (method) => `${method} /api/connections/{connection}/proxy/{path}`,
  );
  const documented = Object.entries(at(JSON.parse(committed), "paths") as JsonObject).flatMap(
    ([path, methods]) =>
      Object.keys(methods as JsonObject).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(documented.sort()).toEqual([...routes, ...pages, ...proxied].sort());
});

test("an operation says who may call it and what it leaves in the audit log", () => {
  const operation = at(JSON.parse(committed), "paths", "/api/service-connections", "post");
  expect(operation).toMatchObject({
    operationId: "ConnectionService_UpsertServiceConnection",
    summary:
      "Registers a connection, or replaces base URL and key of the one that has this slug, both at once.",
    "x-patchbay-policy": {
      scope: "connections:write",
      audit_action: [
        "connection.create",
        "connection.upsert",
        "connection.revoke",
        "api_key.create",
        "api_key.revoke",
      ],
    },
    requestBody: {
      required: true,
      content: {
        "application/json": {
          schema: {
            required: ["serviceSlug", "baseUrl"],
            additionalProperties: false,
            properties: { apiKey: { type: "string", minLength: 1, maxLength: 8192, pattern: "^[!-~]+$" } },
          },
        },
      },
    },
    responses: { 201: { content: { "application/json": { schema: { required: ["data"] } } } } },
  });
  expect(at(JSON.parse(committed), "security")).toEqual([{ apiKey: [] }]);
});

test("a field that the path holds is not in the body", () => {
  const operation = at(JSON.parse(committed), "paths", "/api/api-keys/{id}", "patch");
  expect(at(operation, "parameters", 0)).toMatchObject({ name: "id", in: "path", required: true });
  const body = at(
    operation,
    "requestBody",
    "content",
    "application/json",
    "schema",
    "properties",
  ) as JsonObject;
  expect(Object.keys(body)).toEqual([
    "name",
    "scopes",
    "actAsUserId",
    "expiresAt",
    "rateLimitPerMinute",
    "allowedCidrs",
    "metadata",
    "connections",
  ]);
});

test("a body that may be a field as it is says how, and how large it may be", () => {
  const body = at(openApiOf([library], "1"), "paths", "/v1/scrolls/{shelf}", "post", "requestBody");
  expect(body).toMatchObject({
    description:
      'A scroll. A body of another type than JSON, and JSON with "scroll" or "volume" in it, is taken as it is for ' +
      "`text`: then all else is given in the query. At most 100 bytes.",
    content: { "*/*": {}, "application/json": { schema: { properties: { dryRun: { type: "boolean" } } } } },
  });
});

test("an answer with a tag says so, and how to ask whether it is still the same", () => {
  const operation = at(openApiOf([library], "1"), "paths", "/v1/tagged", "get");
  expect(operation).toMatchObject({
    parameters: expect.arrayContaining([{ $ref: "#/components/parameters/If-None-Match" }]) as unknown,
    responses: {
      200: { headers: { ETag: { $ref: "#/components/headers/ETag" } } },
      304: { headers: { ETag: { $ref: "#/components/headers/ETag" } } },
    },
  });
  const untagged = JSON.stringify(at(openApiOf([library], "1"), "paths", "/v1/search"));
  expect(untagged).not.toMatch(/ETag|If-None-Match|"304"/);
});

test("a bare answer has no envelope", () => {
  const operation = at(JSON.parse(committed), "paths", "/api/service-connections/{id}/test", "post");
  expect(at(operation, "responses", "200", "content", "application/json", "schema")).toEqual({
    $ref: "#/components/schemas/TestConnectionResponse",
  });
});

test("a variable of several segments is one parameter for each of its wildcards", () => {
  const document = openApiOf([library], "1");
  const parameters = at(document, "paths", "/v1/shelves/{text.1}/books/{text.3}", "get", "parameters");
  const inPath = (parameters as JsonObject[]).filter((parameter) => parameter.in === "path");
  expect(inPath.map((parameter) => parameter.name)).toEqual(["text.1", "text.3"]);
  expect((parameters as JsonObject[]).map((parameter) => parameter.name)).not.toContain("text");
});

test("a query names the fields that it can hold, and no map, list of messages or cycle", () => {
  const parameters = at(
    openApiOf([library], "1"),
    "paths",
    "/v1/search",
    "get",
    "parameters",
  ) as JsonObject[];
  const names = parameters.map((parameter) => parameter.name);
  expect(names).toEqual(
    expect.arrayContaining(["text", "texts", "inner.name", "middle.count", "at", "maybeInt64"]),
  );
  for (const name of ["labels", "inners", "struct", "times", "inner.inner.name"])
    expect(names).not.toContain(name);
});

test("a query does not name the field that the body holds", () => {
  const way = ["paths", "/v1/bodies/inner/{text}", "post", "parameters"];
  const names = (at(openApiOf([library], "1"), ...way) as JsonObject[]).map((parameter) => parameter.name);
  expect(names).toContain("middle.name");
  expect(names).not.toContain("inner.name");
});

test("a field that an answer may lack says when", () => {
  const named = at(JSON.parse(committed), "components", "schemas") as Record<string, JsonObject>;
  const silent = Object.entries(named)
    .filter(([name]) => !name.endsWith("Input"))
    .flatMap(([name, { required = [], properties = {}, not = {} }]) => {
      const never = [JSON.stringify(required), JSON.stringify(not)].join();
      return Object.entries(properties as Record<string, JsonObject>)
        .filter(([field]) => !never.includes(`"${field}"`))
        .filter(([, { description }]) => !/\b(Absent|absent|Present)\b/.test(description as string))
        .map(([field]) => `${name}.${field}`);
    });
  expect(silent).toEqual([]);
});

test("the methods that take an Idempotency-Key say so", () => {
  const paths = at(JSON.parse(committed), "paths") as Record<string, Record<string, JsonObject>>;
  const saying = Object.values(paths)
    .flatMap(Object.values<JsonObject>)
    .filter(({ parameters }) => JSON.stringify(parameters ?? []).includes("parameters/Idempotency-Key"))
    .map(({ operationId }) => (operationId as string).replace(/_2$/, ""));
  const taking = contracts
    .flatMap((service) => service.methods)
    .filter(takesIdempotencyKey)
    .map((method) => `${method.parent.name}_${method.name}`);
  expect(new Set(saying)).toEqual(new Set(taking));
  expect(saying).toContain("ApiKeyService_CreateApiKey");
});

test("a call that takes no fields takes an empty object, and no body at all", () => {
  const { requestBody } = at(JSON.parse(committed), "paths", "/api/auth/revoke", "post") as JsonObject;
  expect(requestBody).toMatchObject({
    required: false,
    content: {
      "application/json": { schema: { type: "object", properties: {}, additionalProperties: false } },
    },
  });
});

describe("the schema of a request", () => {
  const way = ["paths", "/v1/books", "post", "requestBody", "content", "application/json", "schema"];
  const schema = at(openApiOf([library], "1"), ...way);

  test("has the rules of its fields", () => {
    expect(schema).toMatchObject({
      required: ["label", "score", "tags", "size"],
      additionalProperties: false,
    });
    expect(at(schema, "properties")).toMatchObject({
      label: { type: "string", pattern: "^[a-z]+$" },
      score: { type: "integer", exclusiveMinimum: 0, exclusiveMaximum: 10 },
      tags: { type: "array", minItems: 1, items: { type: "string", minLength: 2 } },
      notes: { type: "object", maxProperties: 3, additionalProperties: { type: "string" } },
      size: { type: "string", enum: ["small", "large"] },
      inner: { $ref: "#/components/schemas/InnerInput" },
      color: { type: "string", enum: ["COLOR_UNSPECIFIED", "COLOR_RED", "COLOR_BLUE"] },
    });
  });

  test("lets texts hold everything but NUL", () => {
    const text = { type: "string", pattern: String.raw`^[^\u0000]*$` };
    expect(at(schema, "properties")).toMatchObject({
      text,
      texts: { items: text },
      labels: { propertyNames: text, additionalProperties: text },
    });
  });

  test("takes null for what can be cleared, and for nothing else", () => {
    const nullable = Object.entries(at(schema, "properties") as JsonObject).filter(([, property]) =>
      JSON.stringify(property).includes('"null"'),
    );
    expect(nullable.map(([name]) => name)).toEqual(["note", "at"]);
  });

  test("lets one field of a oneof be there, and must have one where the contract asks for it", () => {
    expect(schema).toMatchObject({
      not: {
        anyOf: [
          { required: ["leftSide", "rightSide"] },
          { required: ["leftSide", "middle"] },
          { required: ["rightSide", "middle"] },
        ],
      },
    });
    const post = ["post", "requestBody", "content", "application/json", "schema"];
    const document: unknown = JSON.parse(committed);
    expect(at(document, "paths", "/api/api-keys/import", ...post)).toMatchObject({
      oneOf: [{ required: ["key"] }, { required: ["sha256"] }],
    });
  });

  test("leaves out a field that is only there to be refused", () => {
    const body = ["post", "requestBody", "content", "application/json", "schema", "properties"];
    const properties = at(JSON.parse(committed), "paths", "/api/api-keys", ...body);
    expect(properties).toHaveProperty("name");
    expect(properties).not.toHaveProperty("callerServiceSlug");
  });
});

test("a rule that JSON Schema has no word for stops the generator, which names it", () => {
  expect(() => openApiOf([unsayable], "1")).toThrow(/Question\.odd: no word of JSON Schema for the rule /);
});
