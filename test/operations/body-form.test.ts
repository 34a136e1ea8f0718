import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { bodyFormOf } from "#src/operations/forms/body-form.ts";
import { bodyKind } from "#src/operations/forms/body-kind.ts";
import { callerSchemaOf } from "#src/operations/forms/caller-schema.ts";

const bytes = { contentMediaType: "application/octet-stream" };

const schemas: JsonObject = {
  Upload: { type: "object", properties: { file: { $ref: "#/Scan" }, note: { type: "string" } } },
  Scan: bytes,
  Plain: { type: "object", properties: { a: { type: "string" } } },
  Tree: { allOf: [{ $ref: "#/Upload" }], properties: { inner: { $ref: "#/Tree" } } },
  Loop: { allOf: [{ $ref: "#/Loop" }, { $ref: "#/Upload" }] },
};
const resolve = (ref: string): JsonValue | undefined => schemas[ref.slice(2)];

function read(contentType: string, schema?: JsonValue, encoding?: JsonValue) {
  const form = bodyFormOf({ contentType, required: true, schema, encoding }, resolve);
  return { form, schema: callerSchemaOf(form, schema, resolve) };
}

test.each([
  ["application/json; charset=utf-8", "json"],
  ["application/merge-patch+json", "json"],
  ["Application/X-WWW-Form-Urlencoded", "form"],
  ["multipart/form-data", "multipart"],
  ["text/csv", "text"],
  ["application/xml", "text"],
  ["image/svg+xml", "bytes"],
  ["application/soap+xml", "text"],
  ["image/*", "bytes"],
  ["application/octet-stream", "bytes"],
])("a body of %s is written as %s", (contentType, kind) => {
  expect(bodyKind(contentType)).toBe(kind);
});

describe("a member of a form is bytes", () => {
  const isBytes = (schema: JsonValue, contentType?: string, sentAs = "multipart/form-data") => {
    const properties = { type: "object", properties: { m: schema } };
    const { form } = read(sentAs, properties, contentType === undefined ? undefined : { m: { contentType } });
    return form.encoding?.["m"]?.isBytes === true;
  };

  test.each<[string, JsonValue, string?]>([
    ["by its format", { type: "string", format: "binary" }],
    ["by its media type, without a type", bytes],
    ["by its media type, as a string", { type: "string", contentMediaType: "image/png" }],
    ["by having no type", { description: "a file" }],
    ["by what it is sent as", { type: "string" }, "image/png, image/jpeg"],
    ["behind a reference", { $ref: "#/Scan" }],
    ["or null", { anyOf: [{ type: "string", format: "binary" }, { type: "null" }] }],
    ["as a list", { type: "array", items: bytes }],
    ["even of text", bytes, "text/csv"],
  ])("%s", (_, schema, contentType) => {
    expect(isBytes(schema, contentType)).toBe(true);
  });

  test.each<[string, JsonValue, string?]>([
    ["text", { type: "string" }],
    [
      "text that is base64 already",
      { type: "string", contentEncoding: "base64", contentMediaType: "image/png" },
    ],
    ["text of a format", { type: "string", format: "uuid" }],
    ["a number", { type: "integer" }],
    ["an object", { properties: { a: bytes } }],
    ["sent as JSON", {}, "application/json"],
    ["one of several", { enum: ["a", "b"] }],
    ["text or bytes", { anyOf: [bytes, { type: "string" }] }],
    ["a list of lists", { type: "array", items: { type: "array", items: bytes } }],
    ["a reference to nothing", { $ref: "#/Missing" }],
    ["a reference to itself", { $ref: "#/Self" }],
    ["no schema", true],
  ])("but not if it is %s", (_, schema, contentType) => {
    expect(isBytes(schema, contentType)).toBe(false);
  });

  test("in a form for text only if its schema says so", () => {
    expect(isBytes({}, undefined, "application/x-www-form-urlencoded")).toBe(false);
    expect(isBytes(bytes, undefined, "application/x-www-form-urlencoded")).toBe(true);
  });
});

test("a form keeps what its document says of the writing of members, and nothing else", () => {
  const encoding = {
    tags: { style: "form", explode: false, allowReserved: true, headers: {} },
    part: { contentType: "application/xml" },
    wrong: { style: 1, explode: "yes" },
    worse: null,
  };
  expect(read("multipart/form-data", { $ref: "#/Plain" }, encoding).form).toStrictEqual({
    contentType: "multipart/form-data",
    required: true,
    encoding: {
      tags: { style: "form", explode: false, allowReserved: true },
      part: { contentType: "application/xml" },
    },
  });
  expect(read("application/json", { $ref: "#/Plain" }, encoding).form).not.toHaveProperty("encoding");
});

test("a range of content types becomes one that can be sent", () => {
  const sentAs = (range: string, schema?: JsonValue) => read(range, schema).form.contentType;
  expect(sentAs("*/*", { $ref: "#/Plain" })).toBe("application/json");
  expect(sentAs("application/*", bytes)).toBe("application/octet-stream");
  expect(sentAs("*/*")).toBe("application/octet-stream");
  expect(sentAs("text/*")).toBe("text/plain");
  expect(sentAs("image/*")).toBe("image/*");
});

describe("the schema that a caller is held to", () => {
  const accepts = (schema: JsonObject, body: JsonValue) =>
    new Ajv2020({ strict: false }).compile({ ...schema, ...schemas, $id: "x:/" })(body);
  const file = { filename: "a.png", contentType: "image/png", data: "AAAA" };

  test("is the document's own for JSON, and for a form without bytes as good as that", () => {
    const schema = { $ref: "#/Plain" };
    expect(read("application/json", schema).schema).toBe(schema);
    expect(read("application/json").schema).toStrictEqual({});
    expect(read("application/x-www-form-urlencoded", schema).schema).toStrictEqual({
      type: "object",
      ...schema,
    });
  });

  test.each<[string, JsonObject]>([
    ["referred to", { $ref: "#/Upload" }],
    ["composed", { allOf: [{ $ref: "#/Plain" }, { $ref: "#/Upload" }] }],
    ["one of several", { oneOf: [{ $ref: "#/Upload" }] }],
    ["referred to with more beside it", { $ref: "#/Upload", required: ["file"], description: "d" }],
    ["of a circle", { $ref: "#/Tree" }],
  ])("takes a file as base64 or with its name, in a form that is %s", (_, described) => {
    const { schema } = read("multipart/form-data", described);
    for (const given of [file, "AAAA", { data: "AAAA" }]) expect(accepts(schema, { file: given })).toBe(true);
    for (const given of [7, {}, { ...file, more: 1 }]) expect(accepts(schema, { file: given })).toBe(false);
    expect(accepts(schema, { file, note: 7 })).toBe(false);
    expect(accepts(schema, "AAAA")).toBe(false);
  });

  test("is found for a form that is made of itself, too", () => {
    expect(read("multipart/form-data", { $ref: "#/Loop" }).form.encoding).toStrictEqual({
      file: { isBytes: true },
    });
  });

  test("takes a list of files where the document has one, within its bounds", () => {
    const files = { type: "array", items: bytes, maxItems: 2 };
    const { schema } = read("multipart/form-data", { type: "object", properties: { files } });
    expect(accepts(schema, { files: ["AAAA", file] })).toBe(true);
    expect(accepts(schema, { files: ["AAAA", file, file] })).toBe(false);
    expect(accepts(schema, { files: file })).toBe(false);
  });

  test("takes text for text, whatever the document would make of it, and bytes for all else", () => {
    const xml = read("application/xml", { $ref: "#/Plain" }).schema;
    expect([accepts(xml, "<a/>"), accepts(xml, { a: "b" })]).toStrictEqual([true, false]);
    expect(read("text/plain", { type: "string", maxLength: 3 }).schema).toStrictEqual({
      type: "string",
      maxLength: 3,
    });
    const png = read("image/png", { description: "A picture" }).schema;
    expect([accepts(png, "AAAA"), accepts(png, file), accepts(png, [])]).toStrictEqual([true, true, false]);
    expect(png["description"]).toBe("A picture");
  });

  test("stays small, however often what it refers to is composed", () => {
    const wide = (level: number): JsonObject => ({
      allOf: Array<JsonValue>(2).fill({ $ref: `#/L${level + 1}` }),
    });
    const levels = Object.fromEntries(Array.from({ length: 30 }, (_, level) => [`L${level}`, wide(level)]));
    const all: JsonObject = { ...levels, L30: { type: "object", properties: { file: bytes } } };
    const found = (ref: string) => all[ref.slice(2)];
    const described = { $ref: "#/L0" };
    const form = bodyFormOf(
      { contentType: "multipart/form-data", required: true, schema: described, encoding: undefined },
      found,
    );
    expect(form.encoding).toStrictEqual({ file: { isBytes: true } });
    expect(JSON.stringify(callerSchemaOf(form, described, found)).length).toBeLessThan(50_000);
  });
});
