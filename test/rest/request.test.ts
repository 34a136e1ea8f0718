import type { JsonValue } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonType } from "#src/json/json-type.ts";
import { library, startRest } from "./support.ts";

let service: Awaited<ReturnType<typeof startRest>>;
beforeAll(async () => {
  service = await startRest();
});
afterAll(() => service[Symbol.asyncDispose]());

/** What the method was called with, or the error that was answered instead. */
async function outcome(method: string, path: string, body?: JsonValue | string): Promise<unknown> {
  service.called.length = 0;
  const { status, json } = await service.send(method, path, body);
  if (status < 300) return service.called[0]?.request;
  expect(Object.keys(json)).toEqual(["error"]);
  return `${status} ${json.error}`;
}

describe("the query", () => {
  test.each<[query: string, request: unknown]>([
    ["", {}],
    ["&&", {}],
    ["note", { note: "" }],
    ["constructor=x", { constructor: "x" }],
    ["text=a+b%2Bc%20d", { text: "a b+c d" }],
    ["text=a=b", { text: "a=b" }],
    ["snakeCaseName=x", { snakeCaseName: "x" }],
    ["snake_case_name=x", { snakeCaseName: "x" }],
    ["int32=-5&int64=-9007199254740993&uint32=7&uint64=18446744073709551615", { int32: -5, int64: "-9007199254740993", uint32: 7, uint64: "18446744073709551615" }], // prettier-ignore
    ["ratio=1.5e3&single=-0.5", { ratio: 1500, single: -0.5 }],
    ["flag=true", { flag: true }],
    ["note=", { note: "" }],
    ["blob=aGk_", { blob: "aGk/" }],
    ["color=COLOR_RED", { color: "COLOR_RED" }],
    ["color=COLOR_BLUE", { color: "COLOR_BLUE" }],
    ["texts=a&texts=&texts=c", { texts: ["a", "", "c"] }],
    ["numbers=1&numbers=2", { numbers: [1, 2] }],
    ["colors=COLOR_RED&colors=COLOR_BLUE", { colors: ["COLOR_RED", "COLOR_BLUE"] }],
    ["inner.name=x&inner.inner.count=3", { inner: { name: "x", inner: { count: 3 } } }],
    ["middle.name=x", { middle: { name: "x" } }],
    ["right_side=4", { rightSide: 4 }],
    ["at=2026-01-31T08:00:00%2B01:00", { at: "2026-01-31T07:00:00Z" }],
    ["takes=1.5s", { takes: "1.500s" }],
    ["readMask=text,innerName", { readMask: "text,innerName" }],
    ["maybeText=x&maybeInt64=9&maybe_flag=false", { maybeText: "x", maybeInt64: "9", maybeFlag: false }],
  ])("?%s is read", async (query, request) => {
    expect(await outcome("GET", `/v1/search?${query}`)).toEqual({ ...(request as object) });
  });

  test.each<[query: string, error: string]>([
    ["nope=1", '400 unknown query parameter "nope"; did you mean "note"?'],
    ["inner.nam=1", '400 unknown query parameter "nam"; did you mean "name"?'],
    ["%F0%9F%99%82=1", '400 unknown query parameter "🙂"'],
    ["=1", '400 unknown query parameter ""'],
    ["text=a&text=b", '400 query parameter "text" is given twice'],
    ["snakeCaseName=a&snake_case_name=b", '400 query parameter "snake_case_name" is given twice'],
    ["at=2026-01-31T08:00:00Z&at=2026-01-31T08:00:00Z", '400 query parameter "at" is given twice'],
    ["leftSide=a&rightSide=1", '400 only one of "leftSide" and "rightSide" may be given'],
    ["leftSide=a&middle.name=b", '400 only one of "leftSide" and "middle" may be given'],
    ["inner=x", '400 query parameter "inner" is an object: give its fields, as "inner.…"'],
    ["inners.name=x", '400 query parameter "inners" has no fields'],
    ["labels=x", '400 field "labels" cannot be given in the query'],
    ["labels.key=x", '400 query parameter "labels" has no fields'],
    ["struct=x", '400 field "struct" cannot be given in the query'],
    ["times=2026-01-31T08:00:00Z", '400 field "times" cannot be given in the query'], // prettier-ignore
    ["at.seconds=1", '400 query parameter "at" has no fields'],
    ["text.x=1", '400 query parameter "text" has no fields'],
    ["int32=secret", '400 field "int32" must be an integer (int32)'],
    ["int32=2147483648", '400 field "int32" must be an integer (int32)'],
    ["int32=1.5", '400 field "int32" must be an integer (int32)'],
    ["int32=0x10", '400 field "int32" must be an integer (int32)'],
    ["int32=1e2", '400 field "int32" must be an integer (int32)'],
    ["int32=", '400 field "int32" must be an integer (int32)'],
    ["uint32=-1", '400 field "uint32" must be an integer (uint32)'],
    ["int64=9223372036854775808", '400 field "int64" must be an integer (int64)'],
    ["ratio=x", '400 field "ratio" must be a number (double)'],
    ["ratio=", '400 field "ratio" must be a number (double)'],
    ["ratio=NaN", '400 field "ratio" must be a number (double)'],
    ["ratio=0x10", '400 field "ratio" must be a number (double)'],
    ["flag=1", '400 field "flag" must be a boolean'],
    ["flag=TRUE", '400 field "flag" must be a boolean'],
    ["color=2", '400 field "color" must be one of COLOR_UNSPECIFIED, COLOR_RED, COLOR_BLUE'],
    ["color=RED", '400 field "color" must be one of COLOR_UNSPECIFIED, COLOR_RED, COLOR_BLUE'],
    ["numbers=1&numbers=x", '400 field "numbers" must be a list, each item an integer (int32)'],
    ["inner.count=x", '400 field "inner.count" must be an integer (int32)'],
    ["blob=***", '400 field "blob" must be a string (base64)'],
    ["at=yesterday", '400 field "at" must be a string (date-time) such as 2026-01-31T08:00:00Z'],
    ["takes=soon", '400 field "takes" must be a string such as 1.5s'],
    ["maybeInt64=x", '400 field "maybeInt64" must be an integer (int64)'],
    ["text=%ff", "400 the query is not percent-encoded UTF-8 without NUL"],
    ["text=%", "400 the query is not percent-encoded UTF-8 without NUL"],
    ["text=a%00b", "400 the query is not percent-encoded UTF-8 without NUL"],
    ["__proto__=1", '400 unknown query parameter "__proto__"'],
    ["toString.name=1", '400 unknown query parameter "toString"'],
    [
      Array(200).fill("inner").join(".") + ".name=x",
      "400 a query parameter is nested more than 100 levels deep",
    ],
  ])("?%s is refused", async (query, error) => {
    expect(await outcome("GET", `/v1/search?${query}`)).toBe(error);
  });

  test("whatever the query holds comes back as it was", async () => {
    const text = fc
      .string({ unit: "grapheme" })
      .filter((value) => value.isWellFormed() && !value.includes("\0"));
    const request = fc.record({
      text,
      note: text,
      texts: fc.array(text, { minLength: 1 }),
      int32: fc.integer(),
      ratio: fc.double({ noNaN: true, noDefaultInfinity: true, min: 5e-324 }),
      flag: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(request, async (given) => {
        const pairs = Object.entries(given).flatMap(([name, value]) =>
          [value].flat().map((one): [string, string] => [name, String(one)]),
        );
        expect(await outcome("GET", `/v1/search?${new URLSearchParams(pairs).toString()}`)).toEqual({
          note: given.note,
          texts: given.texts,
          ...(given.text !== "" && { text: given.text }),
          ...(given.int32 !== 0 && { int32: given.int32 }),
          ratio: given.ratio,
          ...(given.flag && { flag: true }),
        });
      }),
      { numRuns: 50 },
    );
  });
});

describe("the path", () => {
  test.each<[method: string, path: string, request: unknown]>([
    ["GET", "/v1/shelves/1/books/a%2Fb", { text: "shelves/1/books/a%2Fb" }],
    ["GET", "/v1/books/a%2Fb", { text: "a/b" }],
    ["GET", "/v1/books/first", {}],
    ["GET", "/v1/books/custom:core-banking", { text: "custom:core-banking" }],
    ["GET", "/v1/books/custom:cancel", { text: "custom:cancel" }],
    ["POST", "/v1/books/custom:core:cancel", { text: "custom:core" }],
    ["GET", "/v1/files", {}],
    ["GET", "/v1/files/a/b%2Fc", { text: "a/b%2Fc" }],
    ["GET", "/v1/files/a/raw/raw", { text: "a/raw" }],
    ["POST", "/v1/files:cancel", { text: "files" }],
    ["POST", "/v1/files/a/b:cancel", { text: "files/a/b" }],
    ["GET", "/v1/nested/n/7", { inner: { name: "n", inner: { count: 7 } } }],
    ["GET", "/v1/nested/n/7?inner.count=2", { inner: { name: "n", count: 2, inner: { count: 7 } } }],
    ["GET", "/v1/typed/-12/true/COLOR_BLUE", { int64: "-12", flag: true, color: "COLOR_BLUE" }],
    ["GET", "/v1/typed/0/false/COLOR_RED", { color: "COLOR_RED" }],
    ["GET", "/v1/any/anything/t", { text: "t" }],
    ["DELETE", "/v1/books/x?note=y", { text: "x", note: "y" }],
    ["OPTIONS", "/v1/probe", {}],
    ["DELETE", "/v1/any-method", {}],
  ])("%s %s is read", async (method, path, request) => {
    expect(await outcome(method, path)).toEqual(request);
  });

  test.each<[method: string, path: string, error: string]>([
    ["GET", "/v1/search/", "404 no such path; the nearest is GET /v1/search"],
    ["GET", "/v1//search", "404 no such path; the nearest is GET /v1/search"],
    ["GET", "/v1/serach", "404 no such path; the nearest is GET /v1/search"],
    ["POST", "/v1/boks/7:cancel", "404 no such path; the nearest is POST /v1/books/{text}:cancel"],
    ["GET", "/somewhere/else/entirely", "404 no such path; GET /openapi.json lists them all"],
    ["GET", `/v1/${"x".repeat(5000)}`, "404 no such path; GET /openapi.json lists them all"],
    ["GET", "/", "404 no such path; GET /openapi.json lists them all"],
    [
      "POST",
      "/v1/books/:cancel",
      "405 this path does not take this HTTP method: use GET, HEAD, PUT, PATCH, DELETE",
    ],
    ["GET", `/v1/boks/${"x".repeat(5000)}`, "404 no such path; GET /openapi.json lists them all"],
    [
      "POST",
      "/v1/books/x:other",
      "405 this path does not take this HTTP method: use GET, HEAD, PUT, PATCH, DELETE",
    ],
    ["GET", "/v1/typed/x/true/COLOR_RED", '400 field "int64" must be an integer (int64)'],
    ["GET", "/v1/typed/1/yes/COLOR_RED", '400 field "flag" must be a boolean'],
    ["GET", "/v1/books/x?text=y", '400 query parameter "text" belongs in the path'],
    ["GET", "/v1/nested/n/7?inner.name=y", '400 query parameter "inner.name" belongs in the path'],
    ["GET", "/v1/books/%ff", "400 the path is not valid percent-encoded UTF-8"],
    ["GET", "/v1/books/%", "400 the path is not valid percent-encoded UTF-8"],
    ["GET", "/v1/books/a%00", "400 the path contains NUL"],
  ])("%s %s is refused", async (method, path, error) => {
    expect(await outcome(method, path)).toBe(error);
  });

  test("another HTTP method than the path has is refused, with those that it has in Allow", async () => {
    const { status, headers } = await service.send("DELETE", "/v1/names");
    expect([status, headers.get("allow"), headers.get("x-error-reason")]).toEqual([405, "GET, HEAD", "METHOD_NOT_ALLOWED"]); // prettier-ignore
  });

  test("an unknown path says so with its reason", async () => {
    const { headers } = await service.send("GET", "/v1/nope");
    expect([headers.get("content-type"), headers.get("x-error-reason")]).toEqual([
      "application/json",
      "UNKNOWN_PATH",
    ]);
  });
});

const inexact = "a double does not keep this number exactly; give it as a string";

describe("the body", () => {
  test.each<[method: string, path: string, body: JsonValue | string | undefined, request: unknown]>([
    ["POST", "/v1/books", undefined, {}],
    ["POST", "/v1/books", {}, {}],
    ["POST", "/v1/books", { snakeCaseName: "x" }, { snakeCaseName: "x" }],
    ["POST", "/v1/books", { snake_case_name: "x" }, { snakeCaseName: "x" }],
    ["POST", "/v1/books", '{"labels":{"__proto__":"x"}}', { labels: JSON.parse('{"__proto__":"x"}') }],
    [
      "POST",
      "/v1/books",
      '{"struct":{"__proto__":{"a":1}}}',
      { struct: JSON.parse('{"__proto__":{"a":1}}') },
    ],
    ["POST", "/v1/books", { value: null, struct: { a: null } }, { value: null, struct: { a: null } }],
    ["POST", "/v1/books", { note: null, at: null }, {}],
    ["POST", "/v1/books", { int64: 9007199254740991, uint64: "18446744073709551615" }, { int64: "9007199254740991", uint64: "18446744073709551615" }], // prettier-ignore
    ["POST", "/v1/books", { int32: 1e2, takes: "-1.5s" }, { int32: 100, takes: "-1.500s" }],
    ["POST", "/v1/books", '\ufeff{"text":"a"}', { text: "a" }],
    ["POST", "/v1/books", '{"int64":"9007199254740993"}', { int64: "9007199254740993" }],
    ["POST", "/v1/books", '{"ratio":1e2,"int32":4.0,"value":-122.41941550000001}', { ratio: 100, int32: 4, value: -122.41941550000001 }], // prettier-ignore
    ["POST", "/v1/books", '{"text":"\\\\u0000 \\ud83d\\ude42"}', { text: "\\u0000 🙂" }],
    ["PUT", "/v1/books/path", { note: "n" }, { text: "path", note: "n" }],
    ["POST", "/v1/bodies/inner/t?int32=4", { name: "n" }, { text: "t", int32: 4, inner: { name: "n" } }],
    ["POST", "/v1/bodies/inner/t", undefined, { text: "t" }],
    ["POST", "/v1/bodies/inner-name/path", { name: "body", count: 2 }, { inner: { name: "path", count: 2 } }],
    ["POST", "/v1/bodies/inner-name/path", undefined, { inner: { name: "path" } }],
    ["POST", "/v1/bodies/many?text=t", ["a", "b"], { text: "t", texts: ["a", "b"] }],
    ["POST", "/v1/bodies/blob", '"aGk="', { blob: "aGk=" }],
  ])("%s %s %j is read", async (method, path, body, request) => {
    expect(await outcome(method, path, body)).toEqual(request);
  });

  test.each<[method: string, path: string, body: JsonValue | string, error: string]>([
    ["POST", "/v1/books", { nope: 1 }, '400 unknown field "nope"; did you mean "note"?'],
    [
      "POST",
      "/v1/books",
      { snakecasename: 1 },
      '400 unknown field "snakecasename"; did you mean "snakeCaseName"?',
    ],
    ["POST", "/v1/books", { inner: { inner: { conut: 1 } } }, '400 unknown field "inner.inner.conut"; did you mean "inner.inner.count"?'], // prettier-ignore
    ["POST", "/v1/books", { inners: [{}, { x: 1 }] }, '400 unknown field "inners[1].x"'],
    ["POST", "/v1/books", { innerByNumber: { 1: { count: "x" } } }, '400 field "innerByNumber[…].count" must be an integer (int32)'], // prettier-ignore
    ["POST", "/v1/books", { innerByNumber: { x: {} } }, '400 field "innerByNumber" must be an object, each value an object'], // prettier-ignore
    ["POST", "/v1/books", '{"__proto__":{"text":"x"}}', '400 unknown field "__proto__"'],
    ["POST", "/v1/books", { toString: 1 }, '400 unknown field "toString"'],
    [
      "POST",
      "/v1/books",
      { snakeCaseName: "a", snake_case_name: "b" },
      '400 field "snakeCaseName" is given twice',
    ],
    ["POST", "/v1/books", '{"text":"a","text":"a"}', '400 field "text" is given twice'],
    ["POST", "/v1/books", String.raw`{"text":"a","\u0074ext":"b"}`, '400 field "text" is given twice'],
    ["POST", "/v1/books", '{"inner":{"name":"a","name":"b"}}', '400 field "inner.name" is given twice'],
    ["POST", "/v1/books", '{"labels":{"x":"a","x":"b"}}', '400 field "labels.x" is given twice'],
    ["POST", "/v1/books", '{"struct":{"a":[{"b":1,"b":2}]}}', '400 field "struct.a[0].b" is given twice'],
    ["POST", "/v1/books", '{"value":{"__proto__":1,"__proto__":2}}', '400 field "value.__proto__" is given twice'], // prettier-ignore
    ["PATCH", "/v1/books/x", '{"note":"n","note":null}', '400 field "note" is given twice'],
    ["POST", "/v1/books", '{"int32":1.00000000000000000001}', `400 field "int32": ${inexact}`],
    ["POST", "/v1/books", '{"int64":9007199254740993}', `400 field "int64": ${inexact}`],
    ["POST", "/v1/books", '{"maybeInt64":-9223372036854775807}', `400 field "maybeInt64": ${inexact}`],
    ["POST", "/v1/books", '{"numbers":[1,-0]}', `400 field "numbers[1]": ${inexact}`],
    ["POST", "/v1/books", '{"ratio":0.99999999999999999999}', `400 field "ratio": ${inexact}`],
    ["POST", "/v1/books", '{"value":{"a":1e400}}', `400 field "value.a": ${inexact}`],
    [
      "POST",
      "/v1/books",
      { leftSide: "a", rightSide: 1 },
      '400 only one of "leftSide" and "rightSide" may be given',
    ],
    ["POST", "/v1/books", { text: 5 }, '400 field "text" must be a string'],
    ["POST", "/v1/books", { text: null }, '400 field "text" must be a string; leave it out rather than give null'], // prettier-ignore
    ["POST", "/v1/books", { inner: null }, '400 field "inner" must be an object; leave it out rather than give null'], // prettier-ignore
    ["POST", "/v1/books", { texts: null }, '400 field "texts" must be a list, each item a string; leave it out rather than give null'], // prettier-ignore
    ["POST", "/v1/books", { inner: { inner: { count: null } } }, '400 field "inner.inner.count" must be an integer (int32); leave it out rather than give null'], // prettier-ignore
    ["POST", "/v1/books", { maybeText: null }, '400 field "maybeText" must be a string; leave it out rather than give null'], // prettier-ignore
    ["POST", "/v1/books", { int32: "5" }, '400 field "int32" must be an integer (int32)'],
    ["POST", "/v1/books", { int32: 2147483648 }, '400 field "int32" must be an integer (int32)'],
    ["POST", "/v1/books", { int64: 9007199254740992 }, '400 field "int64" must be an integer (int64)'],
    ["POST", "/v1/books", { ratio: "1.5" }, '400 field "ratio" must be a number (double)'],
    ["POST", "/v1/books", { color: 1 }, '400 field "color" must be one of COLOR_UNSPECIFIED, COLOR_RED, COLOR_BLUE'], // prettier-ignore
    ["POST", "/v1/books", { blob: "aG k=" }, '400 field "blob" must be a string (base64)'],
    ["POST", "/v1/books", { blob: "aGk==" }, '400 field "blob" must be a string (base64)'],
    ["POST", "/v1/books", { at: "2026-02-30T00:00:00Z" }, '400 field "at" must be a time that exists, such as 2026-01-31T08:00:00Z'], // prettier-ignore
    ["POST", "/v1/books", { at: "2026-01-31T24:00:00Z" }, '400 field "at" must be a string (date-time) such as 2026-01-31T08:00:00Z'], // prettier-ignore
    ["POST", "/v1/books", { takes: "1.5s or so" }, '400 field "takes" must be a string such as 1.5s'],
    ["POST", "/v1/books", { readMask: "" }, '400 field "readMask" must be a string such as oneField,anotherField'], // prettier-ignore
    ["PUT", "/v1/books/path", { text: "body" }, '400 field "text" does not belong in the body: it is given in the path'], // prettier-ignore
    ["PUT", "/v1/names/path", { snake_case_name: "body" }, '400 field "snakeCaseName" does not belong in the body: it is given in the path'], // prettier-ignore
    ["PATCH", "/v1/books/path", { updateMask: "note" }, '400 field "updateMask" does not belong in the body: the fields that it has are those that change'], // prettier-ignore
    ["POST", "/v1/bodies/inner/t", "null", '400 field "inner" must be an object; leave it out rather than give null'], // prettier-ignore
    ["POST", "/v1/books", { texts: "a" }, '400 field "texts" must be a list, each item a string'],
    ["POST", "/v1/books", { texts: ["a", null] }, '400 field "texts" must be a list, each item a string'],
    ["POST", "/v1/books", { inner: [] }, '400 field "inner" must be an object'],
    ["POST", "/v1/books", { inners: {} }, '400 field "inners" must be a list, each item an object'],
    ["POST", "/v1/books", { labels: { a: 1 } }, '400 field "labels" must be an object, each value a string'],
    [
      "POST",
      "/v1/books",
      { color: 1.5 },
      '400 field "color" must be one of COLOR_UNSPECIFIED, COLOR_RED, COLOR_BLUE',
    ],
    ["POST", "/v1/books", { struct: [] }, '400 field "struct" must be an object'],
    ["POST", "/v1/books", "[]", "400 the body must be a JSON object"],
    ["POST", "/v1/books", "null", "400 the body must be a JSON object"],
    ["POST", "/v1/books", "{secret", "400 the body is not valid JSON (line 1 column 2)"],
    ["POST", "/v1/books", '{"text":"secret', "400 the body is not valid JSON (line 1 column 16)"],
    ["POST", "/v1/books", "secret", "400 the body is not valid JSON (line 1 column 1)"],
    ["POST", "/v1/books", '{"text":"a\\u0000b"}', "400 the body contains NUL or half a surrogate pair, which text cannot hold"], // prettier-ignore
    ["POST", "/v1/books", '{"labels":{"\\ud800":"b"}}', "400 the body contains NUL or half a surrogate pair, which text cannot hold"], // prettier-ignore
    ["POST", "/v1/books", '{"struct":{"a":[{"\\u0000":1}]}}', "400 the body contains NUL or half a surrogate pair, which text cannot hold"], // prettier-ignore
    ["POST", "/v1/books?text=x", {}, '400 query parameter "text" belongs in the body'],
    ["POST", "/v1/bodies/inner/t?inner.count=4", {}, '400 query parameter "inner.count" belongs in the body'],
    ["POST", "/v1/bodies/inner/t", [], '400 field "inner" must be an object'],
    ["POST", "/v1/bodies/inner-name/n", "5", '400 field "inner" must be an object'],
    ["DELETE", "/v1/books/x", { note: "y" }, "400 this DELETE takes no body: send fields in path and query"],
  ])("%s %s %j is refused", async (method, path, body, error) => {
    expect(await outcome(method, path, body)).toBe(error);
  });

  test.each([
    ["text/plain", "JSON"],
    ["application/x-www-form-urlencoded", "JSON"],
    ["application/jsonx", "JSON"],
    ["application/json; charset=latin1", "in UTF-8"],
    ['application/json; charset="utf-16"', "in UTF-8"],
  ])("of type %s is refused, as it must be %s, with the type to send", async (type, what) => {
    const { status, json, headers } = await service.send("POST", "/v1/books", "{}", { "content-type": type });
    expect([status, headers.get("x-error-reason")]).toEqual([415, "UNSUPPORTED_CONTENT_TYPE"]);
    expect(json).toEqual({ error: `the body must be ${what}: send Content-Type: application/json` });
  });

  test.each([
    "application/json",
    "application/json;",
    "Application/JSON; charset=UTF-8",
    'application/json;charset="utf-8"',
    "application/json; charset=utf8",
    "application/json; charset=UTF8",
  ])("of type %s is read", async (type) => {
    const { status } = await service.send("POST", "/v1/books", "{}", { "content-type": type });
    expect(status).toBe(201);
  });

  test.each([
    ["gzip", 415],
    ["br", 415],
    ["identity", 201],
  ])("in encoding %s is answered with %i", async (encoding, expected) => {
    const { status, headers } = await service.send("POST", "/v1/books", {}, { "content-encoding": encoding });
    expect(status).toBe(expected);
    expect(headers.get("accept-encoding")).toBe(expected === 415 ? "identity" : null);
  });

  test("that is not UTF-8 is refused", async () => {
    const response = await fetch(`http://127.0.0.1:${service.port}/v1/books`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    });
    expect([response.status, await response.json()]).toEqual([400, { error: "the body is not valid UTF-8" }]);
  });

  test.each<[what: string, body: string]>([
    ["messages", `${'{"inner":'.repeat(100)}{}${"}".repeat(100)}`],
    ["values", `{"value":${"[".repeat(100)}${"]".repeat(100)}}`],
    ["very many values", `{"value":${"[".repeat(2_000_000)}${"]".repeat(2_000_000)}}`],
    ["values in an unknown field", `{"x":${'{"a":'.repeat(100)}1${"}".repeat(100)}}`],
    ["brackets only", "[".repeat(101)],
  ])("with too deeply nested %s is refused", async (_, body) => {
    expect(await outcome("POST", "/v1/books", body)).toBe("400 the body is nested more than 100 levels deep");
  });

  test.each<[what: string, body: string]>([
    ["messages", `${'{"inner":'.repeat(99)}{}${"}".repeat(99)}`],
    ["values", `{"value":${"[".repeat(99)}1${"]".repeat(99)}}`],
    ["brackets in texts", JSON.stringify({ text: '["{\\'.repeat(101) })],
    ["neighbours", JSON.stringify({ inners: Array(101).fill({}) })],
  ])("with %s that are not nested too deeply is read", async (_, body) => {
    expect(await outcome("POST", "/v1/books", body)).toBeTypeOf("object");
  });

  test("of any JSON is read or refused with 400, and its values are not repeated", async () => {
    const names = [
      "text",
      "int32",
      "inner",
      "inners",
      "labels",
      "innerByNumber",
      "leftSide",
      "middle",
      "at",
      "takes",
    ];
    const more = [
      "readMask",
      "maybeInt64",
      "struct",
      "value",
      "times",
      "blob",
      "color",
      "colors",
      "update_mask",
      "x",
    ];
    const json = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(fc.constantFrom(...names, ...more), fc.oneof(fc.jsonValue(), fc.constant({ name: 1 }))),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("POST /v1/books", "PATCH /v1/books/x", "POST /v1/bodies/inner/x"),
        json,
        async (route, body) => {
          const [method, path] = route.split(" ") as [string, string];
          const { status, json: answer } = await service.send(method, path, JSON.stringify(body));
          expect([200, 201, 400]).toContain(status);
          if (status === 400) expect(Object.keys(answer)).toEqual(["error"]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("with bytes is read exactly if they are what the document's pattern calls base64", async () => {
    const { pattern } = jsonType(library.method.createBook!.input.field.blob!);
    const text = fc.string({
      unit: fc.constantFrom("A", "b", "9", "+", "/", "-", "_", "=", " "),
      maxLength: 9,
    });
    await fc.assert(
      fc.asyncProperty(text, async (blob) => {
        const { status } = await service.send("POST", "/v1/books", { blob });
        expect(status).toBe(new RegExp(pattern!, "u").test(blob) ? 201 : 400);
      }),
      { numRuns: 200 },
    );
  });

  test("with a secret in the wrong place is refused without repeating the secret", async () => {
    const secret = "qe_sk_live_CANARY";
    for (const name of [
      "int32",
      "flag",
      "blob",
      "color",
      "at",
      "takes",
      "readMask",
      "inner",
      "texts",
      "labels",
      "maybeInt64",
      "struct",
    ]) {
      for (const body of [
        { [name]: secret },
        { [name]: [secret] },
        { [name]: { [secret.slice(0, 3)]: secret } },
      ]) {
        const answer = await outcome("POST", "/v1/books", body);
        if (typeof answer === "string") expect(answer).not.toContain("CANARY");
      }
    }
    expect(await outcome("POST", "/v1/books", `{"text": ${secret}}`)).not.toContain("CANARY");
  });
});

describe("a PATCH", () => {
  test.each<[body: JsonValue, request: unknown]>([
    [{ note: "n" }, { text: "id", note: "n", updateMask: "note" }],
    [{ note: null }, { text: "id", updateMask: "note" }],
    [
      { snake_case_name: "", at: null, texts: [] },
      { text: "id", updateMask: "texts,at,snakeCaseName" },
    ],
    [{ inner: { count: 1 } }, { text: "id", inner: { count: 1 }, updateMask: "inner" }],
    [{ flag: false }, { text: "id", updateMask: "flag" }],
    [{}, { text: "id" }],
  ])("with %j changes the fields that the body names", async (body, request) => {
    expect(await outcome("PATCH", "/v1/books/id", body)).toEqual(request);
  });

  test("whose body is one field of the message fills no mask", async () => {
    expect(await outcome("PATCH", "/v1/bodies/inner/id", { count: 1 })).toEqual({
      text: "id",
      inner: { count: 1 },
    });
  });
});

describe("a body that is one of the fields, byte for byte,", () => {
  /** What the method was called with, or the refusal. */
  async function read(type: string | undefined, body: string | Uint8Array, query = "") {
    service.called.length = 0;
    const response = await fetch(`http://127.0.0.1:${service.port}/v1/scrolls/top${query}`, {
      method: "POST",
      // Without a type of its own, which a string would give it.
      body: Buffer.from(body),
      ...(type !== undefined && { headers: { "content-type": type } }),
    });
    const answer = (await response.json()) as { error?: string };
    return answer.error === undefined ? service.called[0]?.request : `${response.status} ${answer.error}`;
  }
  const whole = (body: string | Uint8Array) => ({
    shelf: "top",
    text: Buffer.from(body).toString("base64"),
  });

  test.each<[type: string | undefined, body: string | Uint8Array]>([
    ["application/yaml", "openapi: 3.1.0"],
    ["text/plain; charset=latin1", "{}"],
    ["application/octet-stream", Uint8Array.of(0, 255, 128)],
    ["application/x-www-form-urlencoded", "a=b"],
    ["application/jsonlines", "{}"],
    [undefined, "x"],
    ["application/json", '{"scroll": 1}'],
    ["application/json", '{"text": "volume"}'],
    ["Application/JSON; charset=utf-16", '[["volume"'],
  ])("is taken as %s: %j", async (type, body) => {
    expect(await read(type, body)).toEqual(whole(body));
  });

  test("comes with the other fields in the query", async () => {
    expect(await read("text/plain", "x", "?dryRun=true")).toEqual({ ...whole("x"), dryRun: true });
    expect(await read("text/plain", "x", "?url=y")).toMatch(/^400 .*"url"/);
    expect(await read("text/plain", "x", "?text=eA==")).toBe(
      '400 query parameter "text" belongs in the body',
    );
  });

  test("is no JSON without a mark, which is the message", async () => {
    const message = '{"url": "https://a.example/scroll", "dryRun": true}';
    expect(await read("application/json", message)).toEqual({ shelf: "top", ...JSON.parse(message) });
    expect(await read("application/json", message, "?dryRun=true")).toMatch(/^400 .*belongs in the body$/);
    expect(await read("application/json", '{"text": "eA=="}')).toEqual(whole("x"));
  });

  test("is no empty one, which is a message without fields", async () => {
    expect(await read("text/plain", "")).toEqual({ shelf: "top" });
  });

  test("is refused beyond the size that the method declares", async () => {
    expect(await read("text/plain", "x".repeat(100))).toEqual(whole("x".repeat(100)));
    expect(await read("text/plain", "x".repeat(101))).toMatch(/^413 the body is larger than 100 bytes/);
  });
});
