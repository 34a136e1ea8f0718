import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { actionBody, headersBeside } from "#src/calls/action-body.ts";
import type { BodyForm, MemberForm } from "#src/operations/operation.ts";

type Encoding = Readonly<Record<string, MemberForm>>;

const formOf = (contentType: string, encoding?: Encoding): BodyForm => ({
  contentType,
  required: true,
  ...(encoding && { encoding }),
});

const write = async (form: BodyForm | undefined, body: JsonValue) =>
  (await actionBody(form, fromJson(ValueSchema, body)))!;

const png = Buffer.from([0x89, 0x50, 0, 0xff, 0x0d, 0x0a]);
const base64 = png.toString("base64");

describe("a form", () => {
  const text = async (body: JsonObject, encoding?: Encoding) => {
    const written = await write(formOf("application/x-www-form-urlencoded", encoding), body);
    expect(written.contentType).toBe("application/x-www-form-urlencoded");
    return written.bytes.toString("latin1");
  };

  test("has text as it is, a list as one member several times, and an object as JSON", async () => {
    const body = { a: "x & é=", n: 1.5, is: true, list: ["1", 2], deep: { a: [null, { b: "+" }] } };
    const expected = [
      ["a", "x & é="],
      ["n", "1.5"],
      ["is", "true"],
      ["list", "1"],
      ["list", "2"],
      ["deep", '{"a":[null,{"b":"+"}]}'],
    ];
    expect([...new URLSearchParams(await text(body))]).toStrictEqual(expected);
  });

  test.each<[MemberForm, JsonValue, string]>([
    [{ style: "form" }, { R: 1, G: "a,b" }, "R=1&G=a%2Cb"],
    [{ explode: false }, { R: 1, G: "a,b" }, "color=R,1,G,a%2Cb"],
    [{ explode: false }, ["a", "b c"], "color=a,b%20c"],
    [{ style: "spaceDelimited" }, ["a", "b"], "color=a%20b"],
    [{ style: "pipeDelimited" }, ["a", "b"], "color=a%7Cb"],
    [{ style: "deepObject" }, { R: 1, G: 2 }, "color%5BR%5D=1&color%5BG%5D=2"],
    [{ allowReserved: true }, "a/b?&+", "color=a/b?%26%2B"],
    [{ allowReserved: false }, { R: "a/b" }, "R=a%2Fb"],
    [{ contentType: "application/json" }, ["a", 1], "color=%5B%22a%22%2C1%5D"],
    [{ contentType: "application/json" }, "a", "color=%22a%22"],
    [{ contentType: "text/plain" }, ["a", "b"], "color=a&color=b"],
    [{ style: "form" }, [], ""],
    [{}, [], ""],
    [{ isBytes: true }, base64, `color=${encodeURIComponent(base64)}`],
  ])("by %j of %j is %s", async (member, value, expected) => {
    expect(await text({ color: value }, { color: member })).toBe(expected);
  });

  test("reads back as it was given, whatever it holds", async () => {
    const texts = fc.string({ unit: "binary" });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(texts, texts)), async (pairs) => {
        const body = Object.fromEntries(pairs);
        const written = await text(body);
        expect(written).toMatch(/^[!-~]*$/);
        expect([...new URLSearchParams(written)]).toStrictEqual(Object.entries(body));
      }),
    );
  });
});

describe("a body of several parts", () => {
  /** As another implementation reads it. */
  const read = async (body: JsonObject, encoding?: Encoding) => {
    const { bytes, contentType } = await write(formOf("multipart/form-data; boundary=x", encoding), body);
    const response = new Response(new Uint8Array(bytes), { headers: { "content-type": contentType } });
    // oxlint-disable-next-line typescript/no-deprecated -- of bodies by strangers, which this is not
    return [...(await response.formData())];
  };
  const head = async (body: JsonObject, encoding?: Encoding) => {
    const { bytes } = await write(formOf("multipart/form-data", encoding), body);
    return bytes.toString("latin1").split("\r\n").slice(1, -2);
  };

  test("has text as it is, a list as several parts, and objects as JSON", async () => {
    const body = { a: "x\r\né", n: 1, list: ["a", { b: [1] }], deep: { c: null } };
    expect(await read(body)).toStrictEqual([
      ["a", "x\r\né"],
      ["n", "1"],
      ["list", "a"],
      ["list", '{"b":[1]}'],
      ["deep", '{"c":null}'],
    ]);
  });

  test("has files as bytes, with the name and type that are given, or those of the document", async () => {
    const files = [base64, { data: base64, filename: 'ü"\r\n.png', contentType: "image/png" }];
    const parts = await read(
      { file: files },
      { file: { isBytes: true, contentType: "image/*, image/jpeg" } },
    );
    const seen = parts.map(async ([name, file]) =>
      file instanceof File ? [name, file.name, file.type, Buffer.from(await file.arrayBuffer())] : file,
    );
    expect(await Promise.all(seen)).toStrictEqual([
      ["file", "file", "image/jpeg", png],
      ["file", 'ü"\r\n.png', "image/png", png],
    ]);
  });

  test.each<[string, MemberForm, JsonValue, string[]]>([
    ["plain text has no content type", {}, "x", ['Content-Disposition: form-data; name="m"', "", "x"]],
    [
      "an object is JSON",
      {},
      { a: 1 },
      ['Content-Disposition: form-data; name="m"', "Content-Type: application/json", "", '{"a":1}'],
    ],
    [
      "text has the type that the document gives it",
      { contentType: "application/xml; charset=utf-8" },
      "<a/>",
      [
        'Content-Disposition: form-data; name="m"',
        "Content-Type: application/xml; charset=utf-8",
        "",
        "<a/>",
      ],
    ],
    [
      "a style is as in a query, and nothing is percent-encoded",
      { style: "spaceDelimited" },
      ["a", "b&"],
      ['Content-Disposition: form-data; name="m"', "", "a b&"],
    ],
    [
      "so is deepObject",
      { style: "deepObject" },
      { k: "a/b" },
      ['Content-Disposition: form-data; name="m[k]"', "", "a/b"],
    ],
    [
      "a file of which nothing is known",
      { isBytes: true },
      "QQ==",
      [
        'Content-Disposition: form-data; name="m"; filename="m"',
        "Content-Type: application/octet-stream",
        "",
        "A",
      ],
    ],
    [
      "a type of the document that would end the header is left out",
      { isBytes: true, contentType: "image/png\r\nX-Evil: 1" },
      "QQ==",
      [
        'Content-Disposition: form-data; name="m"; filename="m"',
        "Content-Type: application/octet-stream",
        "",
        "A",
      ],
    ],
  ])("%s", async (_, member, value, expected) => {
    expect(await head({ m: value }, { m: member })).toStrictEqual(expected);
  });

  test("reads back as it was given, whatever it holds", async () => {
    const texts = fc.string({ unit: "binary" });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(texts, texts), { minLength: 1 }), async (pairs) => {
        const body = Object.fromEntries(pairs.map(([name, value]) => [name.replace(/[%\0]/g, ""), value]));
        expect(await read(body)).toStrictEqual(Object.entries(body));
      }),
      { numRuns: 30 },
    );
  });

  test("has no name that ends its header", async () => {
    const name = 'a"\r\nX-Evil: 1';
    expect(await head({ [name]: "x" })).toStrictEqual([
      'Content-Disposition: form-data; name="a%22%0D%0AX-Evil: 1"',
      "",
      "x",
    ]);
  });

  test("of another type than form-data keeps that type", async () => {
    const { contentType } = await write(formOf("multipart/mixed"), { a: "x" });
    expect(contentType).toMatch(/^multipart\/mixed; boundary=patchbay-\w{36}$/);
  });
});

test.each<[string, JsonObject]>([
  ["application/x-www-form-urlencoded", { a: "!".repeat(2 * 1024 * 1024) }],
  ["multipart/form-data", { ['"'.repeat(2 * 1024 * 1024)]: "a" }],
])("others get their turn while megabytes are written as %s", async (contentType, body) => {
  let turns = 0;
  const counting = setInterval(() => turns++, 0);
  const { bytes } = await write(formOf(contentType), body);
  clearInterval(counting);
  expect(bytes.length).toBeGreaterThan(6 * 1024 * 1024);
  expect(turns).toBeGreaterThan(10);
});

describe("a body of another kind", () => {
  test.each<[string | undefined, JsonValue, string, string]>([
    [undefined, { a: 1 }, '{"a":1}', "application/json"],
    ["application/merge-patch+json", { a: null }, '{"a":null}', "application/merge-patch+json"],
    ["application/json", "a", '"a"', "application/json"],
    ["text/plain", "é", "Ã©", "text/plain; charset=utf-8"],
    ["text/csv; charset=iso-8859-1", "a;b", "a;b", "text/csv; charset=utf-8"],
    ["text/plain", 7, "7", "text/plain; charset=utf-8"],
    ["application/xml", "<a/>", "<a/>", "application/xml"],
    ["application/octet-stream", base64, png.toString("latin1"), "application/octet-stream"],
    ["image/*", base64, png.toString("latin1"), "application/octet-stream"],
    ["image/*", { data: base64, contentType: "image/png" }, png.toString("latin1"), "image/png"],
    ["image/png", { data: "_-8" }, "\xff\xef", "image/png"],
  ])("%s of %j is sent as it is", async (contentType, body, sent, sentAs) => {
    const written = await write(contentType === undefined ? undefined : formOf(contentType), body);
    expect([written.bytes.toString("latin1"), written.contentType]).toStrictEqual([sent, sentAs]);
  });

  test("that is not given is not sent", async () => {
    expect(await actionBody(formOf("multipart/form-data"), undefined)).toBeUndefined();
  });
});

describe("what has no form is refused by its place:", () => {
  const form = "application/x-www-form-urlencoded";
  const multipart = "multipart/form-data";
  test.each<[string, JsonValue, MemberForm, string]>([
    [form, "a=b", {}, "/body is a form: give an object"],
    [form, { m: null }, {}, "/body/m null cannot be written; leave it out"],
    [form, { m: [["a"], null] }, {}, "/body/m null cannot be written; leave it out"],
    [form, { m: { a: { b: 1 } } }, { style: "deepObject" }, "/body/m what is nested deeper than one level"],
    [form, { m: "a" }, { style: "matrix" }, "/body/m style matrix is none of a query"],
    [multipart, [], {}, "/body is a form: give an object"],
    [multipart, { m: ["a,b"] }, { explode: false }, '/body/m has "," in a part'],
    [multipart, { "a/b": "no base64!" }, {}, "/body/a~1b is bytes, and what is given is no base64"],
    [multipart, { m: { filename: "a" } }, { isBytes: true }, "/body/m is bytes: give base64, or an object"],
    [multipart, { m: 7 }, { isBytes: true }, "/body/m is bytes: give base64, or an object"],
    [
      multipart,
      { m: { data: "QQ==", contentType: "a/b\r\nX: y" } },
      { isBytes: true },
      "/body/m has a contentType that is none",
    ],
    [multipart, { m: { a: 1 } }, { contentType: "application/xml" }, "/body/m what is nested deeper"],
    ["text/plain", { a: 1 }, {}, "/body is text: give a string"],
    ["text/plain", null, {}, "/body is text: give a string"],
    ["image/png", "é", {}, "/body is bytes, and what is given is no base64"],
  ])("as %s, %j by %j", async (contentType, body, member, problem) => {
    const encoding = { m: member, "a/b": { isBytes: true } };
    await expect(write(formOf(contentType, encoding), body)).rejects.toThrow(`input: ${problem}`);
  });
});

describe("a Content-Type of the caller's own", () => {
  const headers = (contentType: string, given: string) =>
    headersBeside(formOf(contentType), { a: "b", "Content-Type": given });

  test("stands where the body is written in the same way", () => {
    const given = { a: "b", "Content-Type": "application/merge-patch+json" };
    expect(headers("application/json", "application/merge-patch+json")).toStrictEqual(given);
    expect(headersBeside(undefined, given)).toBe(given);
    expect(headers("*/*", "text/csv")).toMatchObject({ "Content-Type": "text/csv" });
  });

  test("gives way to the one that names the boundary", () => {
    expect(headers("multipart/form-data", "multipart/form-data")).toStrictEqual({ a: "b" });
    const twice = { "content-type": "multipart/form-data", "Content-Type": "text/plain" };
    expect(headersBeside(formOf("multipart/form-data"), twice)).toStrictEqual({});
  });

  test("is refused where the body is another", () => {
    expect(() => headers("multipart/form-data", "application/json")).toThrow(
      "input: /header/content-type is not that of the body, multipart/form-data",
    );
  });
});
