import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diffOperations, type StoredOperations } from "#src/operations/diff.ts";
import type { ImportedOperation } from "#src/operations/import/imported.ts";
import type { Parameter } from "#src/operations/operation.ts";

type Definitions = Readonly<Record<string, JsonObject>>;

const operation = (more: Partial<ImportedOperation> = {}): ImportedOperation => ({
  ...{
    method: "POST",
    path: "/cases",
    name: "Open a case",
    operationId: "openCase",
    description: "Opens it.",
  },
  ...{ deprecated: false, scopes: ["cases:write"], parameters: [], body: undefined },
  ...{ inputSchema: undefined, outputSchema: undefined, definitionNames: [], fingerprint: "2", ...more },
});

/** As the store has it, under another fingerprint unless it says one. */
function stored(
  operations: readonly ImportedOperation[],
  definitions: Definitions = {},
  fingerprint = "1",
): StoredOperations {
  const text = (value: object | undefined) => (value === undefined ? null : JSON.stringify(value));
  return {
    operations: operations.map((one) => ({
      ...one,
      operationId: one.operationId ?? null,
      description: one.description ?? null,
      parameters: JSON.stringify(one.parameters),
      body: text(one.body),
      inputSchema: text(one.inputSchema),
      outputSchema: text(one.outputSchema),
      fingerprint,
      search: "",
    })),
    definitions: new Map(Object.entries(definitions).map(([name, schema]) => [name, JSON.stringify(schema)])),
  };
}

const read = (operations: readonly ImportedOperation[], definitions: Definitions = {}) => ({
  operations,
  definitions: new Map(Object.entries(definitions)),
});

/** What is said of one operation. */
function changes(before: Partial<ImportedOperation>, after: Partial<ImportedOperation>) {
  const { changed } = diffOperations(stored([operation(before)]), read([operation(after)]));
  return changed[0];
}

const json = { contentType: "application/json", required: true };
const taking = (inputSchema: JsonObject) => ({ body: json, inputSchema });
const answering = (outputSchema: JsonObject) => ({ outputSchema });
const listOf = (items: JsonObject): JsonObject => ({ type: "array", items });
const object = (properties: JsonObject, ...required: string[]): JsonObject => ({
  type: "object",
  properties,
  required,
});

const parameter = (more: Partial<Parameter> = {}): Partial<ImportedOperation> => ({
  parameters: [{ name: "limit", in: "query", required: false, schema: { type: "integer" }, ...more }],
});

test("operations are told apart by method and path, and those of equal fingerprints are the same", () => {
  const [a, b, c] = ["/a", "/b", "/c"].map((path) => operation({ path }));
  if (a === undefined || b === undefined || c === undefined) throw new Error("three were made");
  expect(diffOperations(stored([a, b]), read([{ ...b, fingerprint: "1" }, c]))).toEqual({
    ...{ added: ["POST /c"], removed: ["POST /a"], changed: [], breaking: true },
  });
  expect(diffOperations(stored([b]), read([{ ...b, fingerprint: "1" }, c]))).toMatchObject({
    breaking: false,
  });
});

test("what comes with Patchbay has no fingerprints, and is compared wholly", () => {
  const one = operation(taking(object({ a: { type: "string" } })));
  expect(diffOperations(stored([one], {}, ""), read([one])).changed).toEqual([]);
  const another = operation(taking(object({ a: { type: "integer" } })));
  expect(diffOperations(stored([one], {}, ""), read([another])).changed).toHaveLength(1);
});

test("a style that is the usual one may be said or not", () => {
  const usual = parameter({ style: "form", explode: true, allowReserved: false });
  expect(changes(parameter(), usual)).toMatchObject({
    breaking: false,
    what: ["texts in its schemas are others now"],
  });
});

test("where only texts within schemas differ, that is said", () => {
  expect(changes(taking({ title: "A" }), taking({ title: "B" }))).toEqual({
    ...{ operation: "POST /cases", breaking: false, what: ["texts in its schemas are others now"] },
  });
});

describe("what a caller has to change is breaking:", () => {
  test.each([
    ["a scope more", {}, { scopes: ["cases:write", "x"] }, 'it needs the scope "x" now'],
    [
      "another operationId",
      {},
      { operationId: "create" },
      'its operationId is "create" now, and was "openCase"',
    ],
    ["no operationId", {}, { operationId: undefined }, 'it has no operationId any more, and was "openCase"'],
    ["a parameter less", parameter(), {}, 'query parameter "limit" is gone'],
    [
      "a required parameter more",
      {},
      parameter({ required: true }),
      'query parameter "limit" is new and required',
    ],
    [
      "a required parameter",
      parameter(),
      parameter({ required: true }),
      'query parameter "limit" is required now',
    ],
    [
      "a parameter's style",
      parameter(),
      parameter({ style: "pipeDelimited" }),
      'query parameter "limit" is written in another way now',
    ],
    [
      "a parameter's type",
      parameter(),
      parameter({ schema: { type: "string" } }),
      'query parameter "limit" is string now, and was integer',
    ],
    ["no body", taking({}), {}, "it takes no body any more"],
    ["a required body", {}, taking({}), "it takes a body now, which is required"],
    [
      "another content type",
      taking({}),
      { body: { ...json, contentType: "text/plain" } },
      'the body is "text/plain" now, and was "application/json"',
    ],
    ["no answer", answering({}), {}, "the answer is not described any more"],
    [
      "a required member",
      taking(object({ a: {} })),
      taking(object({ a: {} }, "a")),
      'member "a" of the body is required now',
    ],
    [
      "a new required member",
      taking(object({})),
      taking(object({ a: {} }, "a")),
      'member "a" of the body is new and required',
    ],
    [
      "a member less in the body",
      taking(object({ a: {} })),
      taking(object({})),
      'member "a" of the body is gone',
    ],
    [
      "a member less in the answer",
      answering(object({ a: {} }, "a")),
      answering(object({})),
      'member "a" of the answer is gone',
    ],
    [
      "an optional member of the answer",
      answering(object({ a: {} }, "a")),
      answering(object({ a: {} })),
      'member "a" of the answer may be absent now',
    ],
    ["a value less", taking({ enum: ["a", "b"] }), taking({ enum: ["a"] }), 'the body may no longer be "b"'],
    [
      "a bound",
      taking({ maxLength: 9 }),
      taking({ maxLength: 8 }),
      "the body has the maxLength 8 now, and had 9",
    ],
    ["a pattern", taking({}), taking({ pattern: "^a$" }), 'the body has the pattern "^a$" now, and had none'],
    [
      "no other members",
      taking(object({})),
      taking({ ...object({}), additionalProperties: false }),
      'member "*" of the body is not allowed now',
    ],
    [
      "null in an answer",
      answering({ type: "string" }),
      answering({ anyOf: [{ type: "string" }, { type: "null" }] }),
      "the answer may be null now",
    ],
    [
      "no null in a body",
      taking({ type: ["string", "null"] }),
      taking({ type: "string" }),
      "the body is string now, and was null or string",
    ],
    [
      "a format of an answer",
      answering({ format: "date" }),
      answering({}),
      'the answer has the format none now, and had "date"',
    ],
    [
      "a rule turned around",
      answering({ not: { maximum: 1 } }),
      answering({ not: { maximum: 2 } }),
      "the answer has the maximum 2 now, and had 1",
    ],
    [
      "a rule more",
      taking({}),
      taking({ allOf: [{ title: "Small", maximum: 1 }, {}] }),
      "the body has to be Small as well now",
    ],
  ])("%s", (_, before, after, text) => {
    expect(changes(before, after)).toMatchObject({ breaking: true, what: expect.arrayContaining([text]) });
  });
});

describe("what callers can do without is not:", () => {
  test.each([
    ["a scope less", {}, { scopes: [] }, 'it no longer needs the scope "cases:write"'],
    ["an operationId at last", { operationId: undefined }, {}, 'its operationId is "openCase" now'],
    ["another name", {}, { name: "Create" }, 'its name is "Create" now'],
    ["another description", {}, { description: "Other." }, "its description is another now"],
    ["deprecation", {}, { deprecated: true }, "it is deprecated now"],
    ["a parameter more", {}, parameter(), 'query parameter "limit" is new'],
    ["an optional body", taking({}), { body: { ...json, required: false } }, "the body is optional now"],
    ["a member more", taking(object({})), taking(object({ a: {} })), 'member "a" of the body is new'],
    [
      "a member more in the answer",
      answering(object({})),
      answering(object({ a: {} }, "a")),
      'member "a" of the answer is new and always there',
    ],
    [
      "a wider type",
      taking({ type: "integer" }),
      taking({ type: "number" }),
      "the body is number now, and was integer",
    ],
    [
      "a narrower answer",
      answering({ type: "number" }),
      answering({ type: "integer" }),
      "the answer is integer now, and was number",
    ],
    [
      "a value more",
      answering({ enum: ["a"] }),
      answering({ enum: ["a", "b"] }),
      'the answer may be "b" now',
    ],
    [
      "a looser bound",
      taking({ minItems: 2 }),
      taking({ minItems: 1 }),
      "the body has the minItems 1 now, and had 2",
    ],
    [
      "null in a body",
      taking({ type: "string" }),
      taking({ anyOf: [{ type: "null" }, { type: "string" }] }),
      "the body may be null now",
    ],
    [
      "another default",
      taking({ default: 1 }),
      taking({ default: 2 }),
      "the body has the default 2 now, and had 1",
    ],
  ])("%s", (_, before, after, text) => {
    expect(changes(before, after)).toMatchObject({ breaking: false, what: [text] });
  });
});

describe("what schemas refer to is compared where they do:", () => {
  const ref = (name: string) => ({ $ref: `#/$defs/${name}` });
  const diff = (before: Definitions, after: Definitions, was = ref("A"), is: JsonObject = was) =>
    diffOperations(stored([operation(taking(was))], before), read([operation(taking(is))], after)).changed[0];

  test("through lists, members and circles, with the way that leads there", () => {
    const definitions = (type: string) => ({
      A: object({ bs: { type: "array", items: ref("B") } }),
      B: object({ a: ref("A"), "c.d": { additionalProperties: { type } } }),
    });
    expect(diff(definitions("string"), definitions("integer"))).toMatchObject({
      breaking: true,
      what: ['member "bs[].c.d.*" of the body is integer now, and was string'],
    });
  });

  test("a definition under another name, or written out, is the same", () => {
    const a = object({ x: { type: "string" } });
    expect(diff({ A: a }, { B: a }, ref("A"), ref("B"))?.what).toEqual([
      "texts in its schemas are others now",
    ]);
    expect(diff({ A: a }, {}, ref("A"), a)?.what).toEqual(["texts in its schemas are others now"]);
    expect(diff({ A: a }, { A: a }, ref("A"), { allOf: [ref("A")], description: "x" })?.breaking).toBe(false);
  });

  test("what stands beside a reference counts", () => {
    const definitions = { A: { type: "string" } };
    expect(diff(definitions, definitions, ref("A"), { ...ref("A"), maxLength: 3 })).toMatchObject({
      breaking: true,
      what: ["the body has the maxLength 3 now, and had none"],
    });
  });

  test("choices are matched by name and kind, in any order", () => {
    const definitions = { A: object({ a: {} }), B: object({ b: {} }) };
    const was = { anyOf: [ref("A"), ref("B"), { type: "string" }] };
    expect(
      diff(definitions, definitions, was as never, { anyOf: [{ type: "string" }, ref("B"), ref("A")] })?.what,
    ).toEqual(["texts in its schemas are others now"]);
    expect(
      diff(definitions, definitions, was as never, { anyOf: [{ type: "string" }, ref("B")] }),
    ).toMatchObject({
      breaking: true,
      what: ["the body may no longer be A"],
    });
  });

  test("two operations that share a changed definition are both changed, also through a circle", () => {
    const definitions = (type: string) => ({
      A: object({ b: ref("B") }),
      B: object({ a: ref("A"), x: { type } }),
    });
    const operations = ["A", "B"].map((name) => operation({ path: `/${name}`, ...taking(ref(name)) }));
    const { changed } = diffOperations(
      stored(operations, definitions("string")),
      read(operations, definitions("null")),
    );
    expect(changed.map(({ breaking, what }) => [breaking, what])).toEqual([
      [true, ['member "b.x" of the body is null now, and was string']],
      [true, ['member "x" of the body is null now, and was string']],
    ]);
  });
});

describe("hostile schemas are compared in bounded time:", () => {
  const ref = (i: number) => ({ $ref: `#/$defs/D${i}` });
  const compare = (before: Definitions, after: Definitions, root = { $ref: "#/$defs/D0" }) =>
    diffOperations(stored([operation(taking(root))], before), read([operation(taking(root))], after))
      .changed[0];
  const many = (count: number, make: (i: number) => JsonObject) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`D${i}`, make(i)]));

  test("a fan-out of 2 to the power of 60", () => {
    const level = (i: number) => object(i === 60 ? {} : { a: ref(i + 1), b: ref(i + 1) });
    const deep = (i: number) => (i === 60 ? object({ last: {} }) : level(i));
    expect(compare(many(61, deep), many(61, level))).toMatchObject({ breaking: true });
  });

  test("references in a circle, with nothing behind them", () => {
    const circle = many(2, (i) => ref(1 - i));
    expect(compare(circle, circle)?.breaking).toBe(false);
    expect(
      compare(
        many(1, () => ({ anyOf: [ref(0)] })),
        many(1, () => ({ allOf: [ref(0), ref(0)] })),
      ),
    ).toBeDefined();
  });

  test("circles of different lengths, which meet in each combination", () => {
    const circle = (length: number) =>
      many(length, (i) => object({ next: ref((i + 1) % length), x: { title: `${i}` } }));
    expect(compare(circle(503), circle(509))).toMatchObject({
      breaking: true,
      what: ["it differs deep within its schemas"],
    });
  });

  test("one large definition that meets many others", () => {
    const large = object(Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`m${i}`, {}])));
    const root = (target: (i: number) => number) =>
      object(Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`p${i}`, ref(target(i))])));
    const before = { D0: root(() => 1), D1: large };
    const after = {
      D0: root((i) => i + 1),
      ...many(5_001, (i) => (i === 0 ? root((j) => j + 1) : object({ [`m${i}`]: {} }))),
    };
    expect(compare(before, after)).toMatchObject({ breaking: true });
  });

  test("what is said of many changes is bounded, and each is still named", () => {
    const wide = (type: string) =>
      object(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${i}`.padEnd(300, "x"), { type }])));
    const operations = (type: string) =>
      Array.from({ length: 100 }, (_, i) => operation({ path: `/${i}`, ...taking(wide(type)) }));
    const { changed } = diffOperations(stored(operations("string")), read(operations("null")));
    expect(changed).toHaveLength(100);
    expect(changed.every(({ breaking, what }) => breaking && what.length > 0)).toBe(true);
    expect(JSON.stringify(changed).length).toBeLessThan(512 * 1024);
  });
});

describe("whatever two schemas say,", () => {
  // Other members are not allowed, as a member that had no rule before may get any later.
  const { schema } = fc.letrec<{ schema: JsonObject }>((tie) => ({
    schema: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.record({ type: fc.constantFrom("string", "integer", "number", "boolean", "null") }),
      fc.record({ enum: fc.uniqueArray(fc.constantFrom("a", 1, null), { minLength: 1 }) }),
      fc.record(
        {
          type: fc.constant("integer"),
          minimum: fc.integer({ min: 0, max: 2 }),
          maximum: fc.integer({ min: 0, max: 2 }),
        },
        { requiredKeys: ["type"] },
      ),
      fc.record(
        {
          type: fc.constantFrom("array", ["array", "null"]),
          items: tie("schema"),
          maxItems: fc.integer({ min: 0, max: 2 }),
        },
        { requiredKeys: ["type"] },
      ),
      fc.record({
        type: fc.constant("object"),
        properties: fc.dictionary(fc.constantFrom("a", "b"), tie("schema")),
        required: fc.uniqueArray(fc.constantFrom("a", "b")),
        additionalProperties: fc.constant(false),
      }),
      fc.record({ anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }),
      fc.record({ allOf: fc.array(tie("schema"), { minLength: 1, maxLength: 2 }) }),
      fc.record({ not: tie("schema") }),
      fc.record({ type: fc.constant("integer"), not: tie("schema") }),
    ),
  })) as { schema: fc.Arbitrary<JsonObject> };
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom<JsonValue[]>("a", "b", 0, 1, 2, 1.5, true, null),
      fc.array(tie("value"), { maxLength: 3 }) as fc.Arbitrary<JsonValue>,
      fc.dictionary(fc.constantFrom("a", "b", "c"), tie("value")) as fc.Arbitrary<JsonValue>,
    ),
  }));
  const ajv = new Ajv2020({ strict: false, addUsedSchema: false });
  // Of any two, few are such that one takes what the other does.
  const pair = fc.tuple(schema, schema);
  const two = fc.oneof(
    pair,
    pair.map(([one, other]): [JsonObject, JsonObject] => [one, { anyOf: [other, one] }]),
    pair.map(([one, other]): [JsonObject, JsonObject] => [listOf(one), listOf({ anyOf: [one, other] })]),
  );

  test("a body that was right stays right, unless the change is said to be breaking", () => {
    let stayed = 0;
    fc.assert(
      fc.property(two, fc.array(value, { minLength: 30, maxLength: 30 }), ([before, after], values) => {
        const found = changes(taking(before), taking(after));
        if (found === undefined || found.breaking) return;
        stayed += 1;
        const [was, is] = [ajv.compile(before), ajv.compile(after)];
        expect(values.filter((one) => was(one) && !is(one))).toEqual([]);
      }),
      { numRuns: 100 },
    );
    expect(stayed).toBeGreaterThan(5);
  });

  test("a schema does not differ from itself", () => {
    fc.assert(
      fc.property(schema, (one) => {
        const same = operation({ ...taking(one), ...answering(one) });
        expect(diffOperations(stored([same], {}, ""), read([same])).changed).toEqual([]);
      }),
    );
  });
});
