import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CallServiceResponseSchema } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { queryPairs, replyBody } from "#src/calls/call-body.ts";
import { jsonPiecesOf } from "#src/json/write.ts";
import { whole } from "#src/platform/bytes.ts";

/** The body as a caller gets it over gRPC; JSON as a JavaScript value. */
async function answered(bytes: Buffer | string, contentType: string, headers: Record<string, string> = {}) {
  const body = await replyBody({
    headers: { "content-type": contentType, ...headers },
    body: Buffer.from(bytes),
  });
  const sent = toBinary(CallServiceResponseSchema, create(CallServiceResponseSchema, { body }));
  const { body: read } = fromBinary(CallServiceResponseSchema, sent);
  switch (read.case) {
    case "json":
      return { json: toJson(ValueSchema, read.value) };
    case "text":
      return { text: read.value };
    case "raw":
      return { raw: Buffer.from(read.value).toString("hex") };
    case undefined:
      return {};
  }
}

/** The body of an answer in JSON as a caller gets it over HTTP. */
async function overHttp(text: string) {
  const body = await replyBody({ headers: { "content-type": "application/json" }, body: Buffer.from(text) });
  const bytes = whole(
    await jsonPiecesOf(CallServiceResponseSchema, create(CallServiceResponseSchema, { body })),
  );
  const { json } = JSON.parse(bytes.toString()) as { json?: unknown };
  return { json };
}

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

describe("JSON is answered as JSON", () => {
  test.each([
    ["with a double of 17 digits", '{"a":0.30000000000000004,"b":[-122.41941550000001]}'],
    ["with numbers in other spellings", "[1.0,1e2,100.000,1E+2,0e5,1e21]"],
    ["with members of one name in different objects", '[{"a":1},{"a":1},{"b":{"a":1}}]'],
    ["with NUL in an escape", '{"a":"\\u0000"}'],
    ["with a pair of surrogates in escapes", '"\\ud83d\\ude42"'],
    ["with members that objects have from birth", '{"constructor":1,"__proto__":{"toString":2}}'],
    ["nested 32 levels deep", '{"a":'.repeat(32) + "1" + "}".repeat(32)],
  ])("%s", async (_, text) => {
    expect(await answered(text, "application/json")).toStrictEqual({ json: JSON.parse(text) });
  });

  test("behind a byte order mark", async () => {
    expect(await answered('\ufeff{"a":1}', "application/problem+json")).toStrictEqual({ json: { a: 1 } });
  });

  test.each([
    ["beyond ASCII", '{"é":"’","ß":["€ ☕ 🙂"]}'],
    ["beyond ASCII behind a byte order mark", '\ufeff{"é":"’"}'],
    ["beyond ASCII beside escapes", '{"é":"\\n \\" \\\\ \\u00e9"}'],
    ["whose bytes are the characters of another", '{"é":1,"\\u00c3\\u00a9":2}'],
  ])("with names and texts %s", async (_, text) => {
    for (const body of [text, text.replace("’", "’".repeat(10_000))]) {
      const json = JSON.parse(body.replace("\ufeff", "")) as unknown;
      expect(await answered(body, "application/json; charset=UTF-8")).toStrictEqual({ json });
      expect(await overHttp(body)).toStrictEqual({ json });
    }
  });

  test("whose names have escapes, whatever names stood in their place before", async () => {
    await answered(String.raw`{"h":[],"\\":0}`, "application/json");
    const reply = await answered(String.raw`{"h":1,"\u0061":2}`, "application/json");
    expect(reply).toStrictEqual({ json: { h: 1, a: 2 } });
  });
});

describe("JSON that a message would change stays text", () => {
  test.each([
    ["an integer beyond 2^53", "9007199254740993"],
    ["more digits than a double has", "[0.99999999999999999999]"],
    ["a fraction beyond 2^53", "9007199254740990.6"],
    ["digits that a double rounds", '{"a":9.123456789012347}'],
    ["a number too small", "1e-400"],
    ["a number too large", "1e400"],
    ["the sign of zero", "-0"],
    ["a member given twice", '{"a":1,"b":{"c":1,"c":1}}'],
    ["a member given twice, once in escapes", String.raw`{"a":1,"\u0061":1}`],
    ["a member given twice, once in escapes beyond ASCII", '{"é":1,"\\u00e9":1}'],
    ["half a surrogate pair", '{"a":"\\ud83d"}'],
    ["half a surrogate pair in a name", '{"\\udc00":1}'],
    ["no JSON", "{"],
  ])("%s", async (_, text) => {
    expect(await answered(text, "application/json")).toStrictEqual({ text });
  });

  test("at every depth, so that readers of protobuf, which stop at 100 messages, get all of the answer", async () => {
    for (const [open, close] of ["[ ]", '{"a": }'].map((pair) => pair.split(" ") as [string, string])) {
      for (let depth = 30; depth <= 120; depth++) {
        const text = open.repeat(depth) + "1" + close.repeat(depth);
        const expected = depth > 32 ? { text } : { json: JSON.parse(text) as unknown };
        expect(await answered(text, "application/json")).toStrictEqual(expected);
      }
    }
  });

  test("beyond 1 MiB, since it would hold up other calls", async () => {
    const MiB = 1024 * 1024;
    const text = JSON.stringify("x".repeat(MiB - 2));
    expect(await answered(text, "application/json")).toStrictEqual({ json: "x".repeat(MiB - 2) });
    expect(await answered(`${text} `, "application/json")).toStrictEqual({ text: `${text} ` });
  });

  test("and nothing else does", async () => {
    await fc.assert(
      fc.asyncProperty(fc.json({ maxDepth: 4 }), async (text) => {
        const reply = await answered(text, "application/json");
        expect([{ text }, { json: JSON.parse(text) as unknown }]).toContainEqual(reply);
      }),
    );
  });
});

describe("text is decoded from the charset that it declares:", () => {
  test.each([
    ["text/plain; charset=utf-8", "c3a9", "é"],
    ["text/plain; charset=UTF8", "c3a9", "é"],
    ['text/html;x="; charset=latin1";charset="utf-8"', "c3a9", "é"],
    ["text/plain; charset=iso-8859-1", "c3a9", "Ã©"],
    ["TEXT/PLAIN;CHARSET=Latin1", "e9", "é"],
    ["text/plain; charset=windows-1252", "80", "€"],
    ["text/csv; charset=iso-8859-15", "a4", "€"],
    ["text/plain; charset=us-ascii", "6162", "ab"],
    ["text/plain; charset=iso-2022-jp", "1b2442467c4b5c386c1b2842", "日本語"],
    ["text/plain; charset=shift_jis", "93fa967b", "日本"],
    ["text/plain; charset=gb18030", "c4e3", "你"],
    ["text/plain; charset=utf-16le", "e9004100", "éA"],
    ["text/plain; charset=utf-16be", "00e90041", "éA"],
    ["text/plain; charset=utf-16", "feff00e9", "\ufeffé"],
    ["text/plain; charset=utf-16", "fffee900", "\ufeffé"],
    ["application/xml; charset=koi8-r", "c1", "а"],
    ["application/x-www-form-urlencoded; charset=latin1", "613de9", "a=é"],
    ["text/plain, text/plain", "c3a9", "é"],
    ["text/plain", "efbbbf41", "\ufeffA"],
  ])("%s, %s", async (type, bytes, text) => {
    expect(await answered(hex(bytes), type)).toStrictEqual({ text });
  });

  test.each([
    ["latin1", "é"],
    ["UTF-8", "Ã©"],
  ])("an XML document says itself that it is in %s", async (label, text) => {
    const document = (inner: string) => `<?xml version="1.0" encoding="${label}"?><a>${inner}</a>`;
    const bytes = Buffer.from(document(text), "latin1");
    const expected = { text: document("é") };
    expect(await answered(bytes, "application/atom+xml")).toStrictEqual(expected);
    expect(await answered(bytes, "text/xml")).toStrictEqual(expected);
  });

  test("an XML document in UTF-8 that says it is in UTF-16 is not", async () => {
    const document = '<?xml version="1.0" encoding="utf-16"?><a>é</a>';
    expect(await answered(document, "text/xml")).toStrictEqual({ text: document });
  });

  test("of any length, whatever is cut in two when it is decoded piece by piece", async () => {
    const text = "aé日🙂".repeat(300_000);
    expect(await answered(`.${text}`, "text/plain")).toStrictEqual({ text: `.${text}` });
    const utf16 = Buffer.from(text, "utf16le");
    expect(await answered(utf16, "text/plain; charset=utf-16le")).toStrictEqual({ text });
  });
});

describe("the bytes are answered as they are", () => {
  test.each([
    ["of a charset that is not known", "text/plain; charset=utf-7", "41"],
    ["of a charset that has no name", "text/plain; charset=''", "41"],
    ["that are not valid in their charset", "text/plain; charset=utf-8", "e9"],
    ["that are not ASCII, though they say so", "text/plain; charset=us-ascii", "c3a9"],
    ["that end in the middle of a character", "text/plain; charset=utf-16le", "4100 42"],
    ["that are half a pair in UTF-16", "text/plain; charset=utf-16le", "3dd8"],
    ["that are not UTF-8 and say nothing", "text/plain", "e9"],
    ["of UTF-16 that does not say so", "text/plain", "4100 4200"],
    ["with NUL", "text/plain; charset=utf-8", "41 00"],
    ["of JSON in a charset that is not known", "application/json; charset=nope", "7b7d"],
    ["of two types that do not agree", "text/plain; charset=latin1, text/plain", "41"],
    ["of a type that cannot be read", "text", "41"],
    ["of a type that is no text", "image/png", "41"],
    ["without a type", "", "41"],
  ])("%s", async (_, type, bytes) => {
    expect(await answered(hex(bytes), type)).toStrictEqual({ raw: bytes.replaceAll(" ", "") });
  });

  test("if they are in a content coding that was not undone", async () => {
    const reply = await answered("{}", "application/json", { "content-encoding": "zstd" });
    expect(reply).toStrictEqual({ raw: "7b7d" });
  });
});

describe("a number in a query", () => {
  test.each([
    [2 ** 53 - 1, "9007199254740991"],
    [-0.5, "-0.5"],
    [1e-7, "1e-7"],
  ])("%d is sent as %s", (value, text) => {
    expect(queryPairs({ n: [value] })).toStrictEqual([["n", text]]);
  });

  test.each([2 ** 53, -(2 ** 53), 1e21, 1.5e300])("%d is refused, since digits may be lost", (value) => {
    expect(() => queryPairs({ id: value })).toThrow(
      "query.id: an integer beyond 2^53 does not fit a number; give it as a string",
    );
  });
});
