import type { JsonObject } from "@bufbuild/protobuf";
import { validate } from "@scalar/openapi-parser";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { restRoutes } from "#src/rest/binding.ts";
import { openApiOf } from "#src/rest/openapi.ts";
import { generateOpenApi } from "../../scripts/generate-openapi.ts";
import { library } from "./support.ts";

const committed = readFileSync("gen/openapi.json", "utf8");

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

test("the document has every route that is served, and no other", () => {
  const routes = restRoutes(Object.values(services));
  const served = routes.map(({ httpMethod, template }) => `${httpMethod} ${template.text}`);
  const documented = Object.entries(at(JSON.parse(committed), "paths") as JsonObject).flatMap(
    ([path, methods]) =>
      Object.keys(methods as JsonObject).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(documented.sort()).toEqual(served.sort());
});

test("an operation says who may call it and what it leaves in the audit log", () => {
  const operation = at(JSON.parse(committed), "paths", "/api/service-connections", "post");
  expect(operation).toMatchObject({
    operationId: "ConnectionService_UpsertServiceConnection",
    summary:
      "Registers a connection, or replaces base URL and key of the one that has this slug, both at once.",
    "x-patchbay-policy": {
      scope: "connections:write",
      audit_action: ["connection.create", "connection.upsert", "api_key.create", "api_key.revoke"],
    },
    requestBody: {
      required: true,
      content: {
        "application/json": {
          schema: {
            required: ["serviceSlug", "baseUrl"],
            additionalProperties: false,
            properties: { apiKey: { type: ["string", "null"], minLength: 1, maxLength: 8192 } },
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
    "updateMask",
    "rateLimitPerMinute",
    "allowedCidrs",
    "metadata",
  ]);
});

test("a bare answer has no envelope", () => {
  const operation = at(JSON.parse(committed), "paths", "/api/service-connections/{id}/test", "post");
  expect(at(operation, "responses", "200", "content", "application/json", "schema")).toEqual({
    $ref: "#/components/schemas/TestConnectionResponse",
  });
  expect(operation).not.toHaveProperty("requestBody");
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

test("the rules of a field that JSON Schema can say are in its schema", () => {
  const way = ["paths", "/v1/books", "post", "requestBody", "content", "application/json", "schema"];
  const schema = at(openApiOf([library], "1"), ...way);
  expect(schema).toMatchObject({ required: ["label"], additionalProperties: false });
  expect(at(schema, "properties")).toMatchObject({
    label: { type: "string", pattern: "^[a-z]+$" },
    score: { type: "integer", exclusiveMinimum: 0, exclusiveMaximum: 10 },
    tags: { type: "array", minItems: 1, items: { type: "string", minLength: 2 } },
    notes: { type: "object", maxProperties: 3, additionalProperties: { type: "string" } },
    size: { type: "string", enum: ["small", "large"] },
    note: { type: ["string", "null"] },
    inner: { $ref: "#/components/schemas/InnerInput" },
    at: { type: ["string", "null"], format: "date-time" },
    leftSide: { description: "At most one of `leftSide`, `rightSide`, `middle`." },
  });
});
