import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fillAction, type ActionInput } from "#src/calls/action-input.ts";
import { parseAction } from "#src/calls/action-identifier.ts";
import type { InputCheck } from "#src/calls/checks/checks.ts";
import { createContractCheck } from "#src/calls/checks/contract-check.ts";
import { findAction } from "#src/calls/find-action.ts";
import { nameProblems } from "#src/calls/input-problems.ts";
import type { StyleTable } from "#src/operations/operation.ts";
import type { ServiceDescription } from "#src/operations/service-description.ts";
import { contractOf, readShipped } from "#src/operations/shipped.ts";

const check: InputCheck = (contract, input) =>
  Promise.resolve(createContractCheck(contract)({ input }).problems);

interface Given {
  readonly path?: JsonObject;
  readonly query?: JsonObject;
  readonly header?: JsonObject;
  readonly body?: JsonValue;
}

function inputOf({ path = {}, query = {}, header = {}, body }: Given): ActionInput {
  return { path, query, header, body: body === undefined ? undefined : fromJson(ValueSchema, body) };
}

/** A service with one operation, `run`. */
function serviceWith(operation: object, path = "/run") {
  const run = { operationId: "run", summary: "Run", responses: {}, ...operation };
  return readShipped({ info: { title: "T" }, paths: { [path]: { post: run } } });
}

function fill(operation: object, given: Given, path = "/run", table: StyleTable = "3.1") {
  const { operations, definitions } = serviceWith(operation, path);
  const contract = { ...contractOf(operations[0]!, definitions), table };
  return fillAction({ method: "POST", template: path, contract }, inputOf(given), check);
}

function withBody(schema: object, required = true) {
  return { requestBody: { required, content: { "application/json": { schema } } } };
}

const parameters = [
  { name: "limit", in: "query", required: true, schema: { type: "integer", maximum: 10 } },
  { name: "tags", in: "query", explode: false, schema: { type: "array", items: { type: "string" } } },
  { name: "X-Tenant", in: "header", required: true, schema: { type: "string", pattern: "^[a-z]+$" } },
];
const fits = { query: { limit: 5 }, header: { "X-Tenant": "acme" } };

test("what fits goes where the document says, in its styles", async () => {
  const query = { limit: 5, tags: ["a,b", "c"] };
  const header = { "x-tenant": "acme", "Idempotency-Key": "k" };
  expect(await fill({ parameters }, { ...fits, query, header })).toStrictEqual({
    path: "/run",
    query: [
      ["limit", "5", "encoded"],
      ["tags", "a%2Cb,c", "encoded"],
    ],
    headers: { "X-Tenant": "acme", "Idempotency-Key": "k" },
  });
});

describe("what does not fit is refused by the place:", () => {
  test.each<[string, Given, string]>([
    ["a missing query parameter", { ...fits, query: {} }, "/query/limit is missing"],
    [
      "a misspelt query parameter",
      { ...fits, query: { limt: 5 } },
      "/query/limit is missing; limt was given; /query/limt is unknown; did you mean limit?",
    ],
    ["one of another type", { ...fits, query: { limit: "5" } }, "/query/limit must be integer"],
    ["one beyond its bound", { ...fits, query: { limit: 11 } }, "/query/limit must be <= 10"],
    [
      "a misspelt header",
      { ...fits, header: { "X-Tennant": "acme" } },
      "/header/X-Tenant is missing; X-Tennant was given",
    ],
    [
      "a header that its pattern does not match",
      { ...fits, header: { "x-tenant": "A1" } },
      '/header/X-Tenant must match pattern "^[a-z]+$"',
    ],
    [
      "a body where none is described",
      { ...fits, body: {} },
      "/body is given, and the catalog describes no body of this operation",
    ],
    [
      "a value that has no form",
      { ...fits, header: { ...fits.header, "x-more": { a: [1] } } },
      "/header/x-more what is nested deeper than one level cannot be written",
    ],
  ])("%s", async (_, given, problem) => {
    await expect(fill({ parameters }, given)).rejects.toThrow(`input: ${problem}`);
  });

  test("a body, with every problem, and never with a value", async () => {
    const schema = {
      type: "object",
      properties: { name: { type: "string", minLength: 3 }, kind: { enum: ["a", "b"] }, "a/b~": {} },
      required: ["name", "a/b~"],
      additionalProperties: false,
    };
    const refused = fill(withBody(schema), { body: { name: "x", kind: "my-secret", kin: 1 } });
    await expect(refused).rejects.toThrow(
      "input: /body/a~1b~0 is missing; /body/kin is unknown; did you mean kind?; " +
        '/body/name must NOT have fewer than 3 characters; /body/kind must be one of "a", "b"',
    );
  });

  test("a body that is missing, and one that need not be there is not asked for", async () => {
    const schema = { type: "object", required: ["a"] };
    await expect(fill(withBody(schema), {})).rejects.toThrow("input: /body is missing");
    expect((await fill(withBody(schema, false), {})).path).toBe("/run");
  });

  test.each([
    ["twenty problems", 1, 20],
    ["as many long problems as headers have room for", 500, 14],
  ])("a body with many, by at most %s", async (_, length, count) => {
    const body = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`${i}`.repeat(length), 1]));
    const schema = { additionalProperties: { type: "string" } };
    const refused = fill(withBody(schema), { body });
    await expect(refused).rejects.toThrow(
      new RegExp(`^input: (?:/body/\\d+…? must be string(?:; |$)){${count}}and others$`),
    );
  });
});

describe("a path", () => {
  const at = async (path: JsonObject, template = "/things/{id}/parts/{part}") =>
    (await fill({ parameters: [] }, { path }, template)).path;

  test("has each value as one segment", async () => {
    expect(await at({ id: "a/b ?#ä", part: 7 })).toBe("/things/a%2Fb%20%3F%23%C3%A4/parts/7");
    expect(await at({ id: "1", part: "x" }, "/things/{id}.json;v={part}")).toBe("/things/1.json;v=x");
  });

  test("has what else is in its template as a URL has it", async () => {
    expect(await at({ id: "1", part: "x" }, "/größe [a]/{id}:run/{part}")).toBe(
      "/gr%C3%B6%C3%9Fe%20%5Ba%5D/1:run/x",
    );
  });

  test.each<[string, JsonObject, string]>([
    ["a missing one", { id: "1" }, "/path/part is missing"],
    [
      "a misspelt one",
      { id: "1", prat: "2" },
      "/path/part is missing; prat was given; /path/prat is unknown; did you mean part?",
    ],
    ["one too many", { id: "1", part: "2", more: "3" }, "/path/more is unknown"],
    ["an empty one", { id: "", part: "2" }, "/path/id is empty"],
    ["an empty list", { id: [], part: "2" }, "/path/id is empty"],
    ["a dot", { id: ".", part: "2" }, "/path/id the segments . and .. are not sent"],
    ["two dots", { id: "..", part: "2" }, "/path/id the segments . and .. are not sent"],
    ["dots and more", { id: "../x", part: "2" }, "/path/id the segments . and .. are not sent"],
    ["encoded dots", { id: "%2e%2e", part: "2" }, "/path/id the segments . and .. are not sent"],
    ["a backslash", { id: "..\\x", part: "2" }, "/path/id the segments . and .. are not sent"],
    ["a line break", { id: "a\r\nb", part: "2" }, "/path/id line breaks and NUL are not sent"],
    ["null", { id: null, part: "2" }, "/path/id null cannot be written; leave it out"],
  ])("refuses %s", async (_, path, problem) => {
    await expect(at(path)).rejects.toThrow(`input: ${problem}`);
  });

  test("has the segments of its template, whatever the values are", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), async (id, part) => {
        let path: string;
        try {
          path = await at({ id, part });
        } catch {
          return;
        }
        const segments = path.split("/");
        expect(segments.map((one) => decodeURIComponent(one))).toStrictEqual([
          "",
          "things",
          id,
          "parts",
          part,
        ]);
      }),
    );
  });

  test("is written by the table of its document's version", async () => {
    const label = { parameters: [{ name: "id", in: "path", style: "label", schema: {} }] };
    expect((await fill(label, { path: { id: ["a", "b"] } }, "/x/{id}", "3.0")).path).toBe("/x/.a.b");
    expect((await fill(label, { path: { id: ["a", "b"] } }, "/x/{id}")).path).toBe("/x/.a,b");
  });
});

describe("a schema with", () => {
  test("several patterns has each value held to its own", async () => {
    const schema = { properties: { a: { pattern: "^a+$" }, b: { pattern: "^b+$" } } };
    expect((await fill(withBody(schema), { body: { a: "aa", b: "bb" } })).path).toBe("/run");
    await expect(fill(withBody(schema), { body: { a: "bb", b: "bb" } })).rejects.toThrow(
      "/body/a must match",
    );
    await expect(fill(withBody(schema), { body: { a: "aa", b: "aa" } })).rejects.toThrow(
      "/body/b must match",
    );
  });

  test("a pattern that backtracks is judged by an engine that does not", async () => {
    const schema = { properties: { a: { pattern: "^(a+)+$" } } };
    await expect(fill(withBody(schema), { body: { a: `${"a".repeat(50_000)}!` } })).rejects.toThrow(
      "/body/a must match",
    );
  });

  test("a pattern that this engine has no form for leaves it to the service", async () => {
    const schema = { properties: { a: { pattern: "^(?!x)y" } } };
    expect((await fill(withBody(schema), { body: { a: "x" } })).path).toBe("/run");
  });

  test("a pattern leaves a text that is longer than it is matched with to the service", async () => {
    const schema = { properties: { a: { pattern: "^[a-z]+$" } } };
    for (const a of ["a", "A"]) {
      expect((await fill(withBody(schema), { body: { a: a.repeat(70_000) } })).path).toBe("/run");
    }
  });

  test("unique items compares a long list of objects in one go", async () => {
    const items = Array.from({ length: 1_600 }, (_, i) => ({ i, b: 1 }));
    const schema = { type: "array", uniqueItems: true };
    expect((await fill(withBody(schema), { body: items })).path).toBe("/run");
    await expect(fill(withBody(schema), { body: [...items, { b: 1, i: 7 }] })).rejects.toThrow(
      "/body must NOT have duplicate items",
    );
  });

  test("definitions of its own is read with these, as a body and as a parameter", async () => {
    const $defs = { tree: { type: "object", properties: { inner: { $ref: "#/$defs/tree" } } } };
    const schema = { $defs, $ref: "#/$defs/tree" };
    const filter = {
      name: "filter",
      in: "query",
      schema: { $defs: { few: { maxProperties: 1 } }, $ref: "#/$defs/few" },
    };
    const operation = { ...withBody(schema), parameters: [filter] };
    expect((await fill(operation, { body: { inner: {} }, query: { filter: { a: 1 } } })).path).toBe("/run");
    await expect(
      fill(operation, { body: { inner: { inner: 1 } }, query: { filter: { a: 1, b: 2 } } }),
    ).rejects.toThrow(
      "input: /query/filter must NOT have more than 1 properties; /body/inner/inner must be object",
    );
  });

  test("the id of another schema is not taken for that one", async () => {
    const one = withBody({ $id: "https://x.example/s", type: "string" });
    const other = withBody({ $id: "https://x.example/s", type: "number" });
    expect((await fill(one, { body: "a" })).path).toBe("/run");
    expect((await fill(other, { body: 1 })).path).toBe("/run");
    await expect(fill(other, { body: "a" })).rejects.toThrow("/body must be number");
  });
});

test.each<[string, Given, string]>([
  ["more values", { body: Array<number>(6_000).fill(1) }, "/body has more than 5000 values"],
  [
    "deeper",
    { body: JSON.parse(`${"[".repeat(40)}${"]".repeat(40)}`) as JsonValue },
    "/body is nested more than 32 levels deep",
  ],
  ["more parameters", { query: { a: Array<number>(6_000).fill(1) } }, "/query has more than 5000 values"],
  ["longer names", { header: { ["a".repeat(70_000)]: 1 } }, "/header has more than 65536 characters"],
  ["longer texts", { query: { a: ["!".repeat(70_000)] } }, "/query has more than 65536 characters"],
])("input with %s than can be checked at once is refused", async (_, given, problem) => {
  await expect(fill(withBody({}), given)).rejects.toThrow(`input: ${problem}`);
});

describe("an operation", () => {
  const { name, operations } = serviceWith({}, "/things/{id}");
  const service: ServiceDescription = { name, revision: 0, endpoints: operations };
  const found = (identifier: string, known: typeof service | undefined = service) => {
    const { method, template, endpoint } = findAction(parseAction(identifier), known);
    return `${method} ${template} ${endpoint === undefined ? "unknown" : "known"}`;
  };

  test.each([
    ["aml/run", "POST /things/{id} known"],
    ["aml/POST /things/{id}", "POST /things/{id} known"],
    ["custom:x/POST /things/{id}", "POST /things/{id} known"],
  ])("is found as %s", (identifier, expected) => {
    expect(found(identifier)).toBe(expected);
  });

  test.each([
    ["aml/runn", "the catalog names no such operation of aml; did you mean aml/run?"],
    ["aml/POST /thing/{id}", "did you mean aml/POST /things/{id}?"],
    ["aml/GET /things/{id}", "did you mean aml/POST /things/{id}?"],
    ["aml/quite-another", "the catalog names no such operation of aml; GET /api/catalog/services lists them"],
  ])("is not found as %s", (identifier, problem) => {
    expect(() => found(identifier)).toThrow(problem);
  });

  test("of a service that nothing is known of is its method and path, and has no id", () => {
    const empty = { ...service, endpoints: [] };
    for (const known of [undefined, empty]) {
      const { endpoint, template } = findAction(parseAction("custom:x/GET /v1/{id}"), known);
      expect([endpoint, template]).toStrictEqual([undefined, "/v1/{id}"]);
      expect(() => findAction(parseAction("custom:x/list"), known)).toThrow(
        "name this one by method and path",
      );
    }
  });

  test.each([
    "",
    "aml",
    "aml/",
    "/run",
    "AML/run",
    "aml/TRACE /x",
    "aml/get /x",
    "aml/GET x",
    "custom:/x",
    "aml/a b",
  ])("is not named by %j", (identifier) => {
    expect(() => parseAction(identifier)).toThrow("actionIdentifier: give <service>/<operationId>");
  });
});

test("of thousands of unknown names, no more are compared than are shown, and long ones not at all", () => {
  const given = Object.fromEntries(Array.from({ length: 4_900 }, (_, i) => [`acount${i}`, 1]));
  const { missing, unknown } = nameProblems("/path", [{ name: "account", required: true }], given);
  expect(missing).toStrictEqual([{ pointer: "/path/account", reason: "is missing; acount0 was given" }]);
  expect(unknown).toHaveLength(21);
  const long = "a".repeat(60);
  expect(nameProblems("/path", [{ name: `${long}b` }], { [long]: 1 }).unknown).toStrictEqual([
    { pointer: `/path/${long}`, reason: "is unknown" },
  ]);
});
