import type { JsonValue } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { headerText, pathText, queryPairs } from "#src/calls/parameters.ts";
import { percentEncoded, reserved } from "#src/calls/percent.ts";
import { NoForm } from "#src/calls/styles.ts";

const list = ["blue", "black", "brown"];
const object = { R: 100, G: 200, B: 150 };
const styles = { text: "blue", list, object } as const;

const inQuery = (style: string | undefined, explode: boolean | undefined, value: JsonValue) =>
  queryPairs({ name: "color", style, explode }, value)
    .map(([name, text]) => `${name}=${text}`)
    .join("&");

describe("a path parameter", () => {
  // The tables of OpenAPI 3.0.0, "Style Examples", and of RFC 6570.
  test.each<[string, boolean, "3.0" | "3.1", Readonly<Record<keyof typeof styles, string>>]>([
    ["simple", false, "3.0", { text: "blue", list: "blue,black,brown", object: "R,100,G,200,B,150" }],
    ["simple", true, "3.0", { text: "blue", list: "blue,black,brown", object: "R=100,G=200,B=150" }],
    ["simple", false, "3.1", { text: "blue", list: "blue,black,brown", object: "R,100,G,200,B,150" }],
    ["simple", true, "3.1", { text: "blue", list: "blue,black,brown", object: "R=100,G=200,B=150" }],
    ["label", false, "3.0", { text: ".blue", list: ".blue.black.brown", object: ".R.100.G.200.B.150" }],
    ["label", true, "3.0", { text: ".blue", list: ".blue.black.brown", object: ".R=100.G=200.B=150" }],
    ["label", false, "3.1", { text: ".blue", list: ".blue,black,brown", object: ".R,100,G,200,B,150" }],
    ["label", true, "3.1", { text: ".blue", list: ".blue.black.brown", object: ".R=100.G=200.B=150" }],
    [
      "matrix",
      false,
      "3.1",
      { text: ";color=blue", list: ";color=blue,black,brown", object: ";color=R,100,G,200,B,150" },
    ],
    [
      "matrix",
      true,
      "3.1",
      { text: ";color=blue", list: ";color=blue;color=black;color=brown", object: ";R=100;G=200;B=150" },
    ],
  ])("in style %s, explode %s, is written as the table of %s says", (style, explode, table, expected) => {
    const written = Object.entries(styles).map(([kind, value]) => [
      kind,
      pathText({ name: "color", style, explode }, value, table),
    ]);
    expect(Object.fromEntries(written)).toStrictEqual(expected);
  });

  test("that is empty has no equals sign in style matrix", () => {
    expect(pathText({ name: "color", style: "matrix" }, "", "3.1")).toBe(";color");
  });

  test("is refused in style label if a part could be taken for two", () => {
    const label = { name: "color", style: "label" };
    for (const value of [["a.b"], { a: 1.5 }]) {
      expect(() => pathText({ ...label, explode: true }, value, "3.1")).toThrow(NoForm);
      expect(() => pathText(label, value, "3.0")).toThrow(NoForm);
    }
    expect(pathText(label, ["a.b", "c"], "3.1")).toBe(".a.b,c");
    expect(pathText(label, "a.b", "3.0")).toBe(".a.b");
  });

  test("never leaves its segment, whatever it holds", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const written = pathText({ name: "id" }, text, "3.1");
        expect(written).toMatch(/^[A-Za-z0-9._~%-]*$/);
        expect(decodeURIComponent(written)).toBe(text);
      }),
    );
  });
});

describe("a query parameter", () => {
  test.each<[string | undefined, boolean | undefined, Readonly<Record<string, string>>]>([
    [
      undefined,
      undefined,
      { text: "color=blue", list: "color=blue&color=black&color=brown", object: "R=100&G=200&B=150" },
    ],
    [
      "form",
      true,
      { text: "color=blue", list: "color=blue&color=black&color=brown", object: "R=100&G=200&B=150" },
    ],
    [
      "form",
      false,
      { text: "color=blue", list: "color=blue,black,brown", object: "color=R,100,G,200,B,150" },
    ],
    [
      "spaceDelimited",
      false,
      { list: "color=blue%20black%20brown", object: "color=R%20100%20G%20200%20B%20150" },
    ],
    [
      "pipeDelimited",
      false,
      { list: "color=blue%7Cblack%7Cbrown", object: "color=R%7C100%7CG%7C200%7CB%7C150" },
    ],
    ["deepObject", true, { object: "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150" }],
  ])("in style %s, explode %s, is written as the tables say", (style, explode, expected) => {
    for (const [kind, text] of Object.entries(expected)) {
      expect(inQuery(style, explode, styles[kind as keyof typeof styles])).toBe(text);
    }
  });

  test.each<[string, boolean, JsonValue, string]>([
    ["form", true, "", "color="],
    ["form", true, [], ""],
    ["form", false, [], ""],
    ["form", true, {}, ""],
    ["form", false, {}, ""],
    ["form", false, [""], "color="],
    ["deepObject", true, {}, ""],
    ["spaceDelimited", true, ["a b", "c"], "color=a%20b&color=c"],
    ["pipeDelimited", true, ["a|b", "c"], "color=a%7Cb&color=c"],
    ["form", true, [true, 1.5, "a"], "color=true&color=1.5&color=a"],
  ])("in style %s, explode %s, of %j is %j", (style, explode, value, expected) => {
    expect(inQuery(style, explode, value)).toBe(expected);
  });

  test("that is a list without explode holds no item that could be taken for two", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme" }), { minLength: 1 }), (items) => {
        const written = inQuery("form", false, items).replace(/^color=/, "");
        fc.pre(written !== "");
        expect(written.split(",").map(decodeURIComponent)).toStrictEqual(items);
      }),
    );
  });

  test("reads back as it was given, and as one parameter", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (name, text) => {
        fc.pre(!/[\0\r\n]/.test(name + text));
        const [pair] = queryPairs({ name }, text);
        expect([...new URLSearchParams(`${pair![0]}=${pair![1]}`)]).toStrictEqual([[name, text]]);
      }),
    );
  });
});

describe("a query parameter with allowReserved", () => {
  const written = (value: JsonValue, style?: string, explode?: boolean) =>
    queryPairs({ name: "a[b", style, explode, allowReserved: true }, value)
      .map(([name, text]) => `${name}=${text}`)
      .join("&");

  test("keeps what has a meaning in URLs, but for what would end it, and escapes that are there", () => {
    expect(written("https://x.example/a?b=c;d@e!$'()*,:")).toBe("a%5Bb=https://x.example/a?b=c;d@e!$'()*,:");
    expect(written('&#[]+ "é')).toBe("a%5Bb=%26%23%5B%5D%2B%20%22%C3%A9");
    expect(written("%2F%zz%2")).toBe("a%5Bb=%2F%25zz%252");
  });

  test("is still written in its style", () => {
    expect(written(["a/b", "c"], "form", false)).toBe("a%5Bb=a/b,c");
    expect(() => written(["a/b", "c,d"], "form", false)).toThrow(NoForm);
    expect(written(["a/b", "c"], "pipeDelimited")).toBe("a%5Bb=a/b%7Cc");
    expect(written({ "k/": "a/b" }, "deepObject")).toBe("a%5Bb%5Bk%2F%5D=a/b");
  });

  test("reads back as it was given, and as one parameter, unless it holds escapes of its own", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        fc.pre(!/[%\0\r\n]/.test(text));
        expect([...new URLSearchParams(written(text))]).toStrictEqual([["a[b", text]]);
      }),
    );
  });
});

describe("a parameter that is JSON", () => {
  const value = { a: [null, { "é/": 2 ** 60 }], b: "ü&=,\u{1f600}" };

  test("is written whole, wherever it stands, whatever its style", () => {
    const form = { name: "filter", isJson: true, style: "deepObject", explode: true };
    expect(JSON.parse(decodeURIComponent(pathText(form, value, "3.1")))).toStrictEqual(value);
    const [pair, ...others] = queryPairs(form, value);
    expect(others).toStrictEqual([]);
    const [[name, text] = []] = new URLSearchParams(`${pair![0]}=${pair![1]}`);
    expect([name, JSON.parse(text!)]).toStrictEqual(["filter", value]);
    const header = headerText(form, value);
    expect(header).toMatch(/^[ -~]+$/);
    expect(JSON.parse(header)).toStrictEqual(value);
  });

  test.each<[JsonValue, string]>([
    ["a", "%22a%22"],
    [null, "null"],
    [[], "%5B%5D"],
  ])("%j is %s in a query", (given, text) => {
    expect(queryPairs({ name: "q", isJson: true }, given)).toStrictEqual([["q", text, "encoded"]]);
  });
});

test("a long text is encoded as a short one is, wherever it is cut", () => {
  fc.assert(
    fc.property(fc.nat(8), fc.constantFrom("%2F", "\u{1f600}", "é"), (before, unit) => {
      const text = "a".repeat(before) + unit.repeat(40_000);
      const encodedUnit = unit === "%2F" ? unit : encodeURIComponent(unit);
      expect(percentEncoded(text, reserved)).toBe("a".repeat(before) + encodedUnit.repeat(40_000));
    }),
    { numRuns: 10 },
  );
});

test.each(["\0", "\r", "a\n", "%0a", "%00"])("%j is not sent in a query, however it is written", (text) => {
  expect(() => queryPairs({ name: "a", allowReserved: true }, text)).toThrow(NoForm);
  expect(() => queryPairs({ name: decodeURIComponent(text) }, "a")).toThrow(NoForm);
});

test("a header's value is written in style simple, and not percent-encoded", () => {
  expect(headerText({ name: "X-Color" }, "a b")).toBe("a b");
  expect(headerText({ name: "X-Color" }, list)).toBe("blue,black,brown");
  expect(headerText({ name: "X-Color" }, object)).toBe("R,100,G,200,B,150");
  expect(headerText({ name: "X-Color", explode: true }, object)).toBe("R=100,G=200,B=150");
});

test.each<[string, JsonValue, RegExp]>([
  ["form", null, /null cannot be written/],
  ["form", [null], /null cannot be written/],
  ["form", [["a"]], /nested deeper than one level/],
  ["deepObject", { a: { b: 1 } }, /nested deeper than one level/],
  ["deepObject", "a", /only objects/],
  ["form", 2 ** 53, /beyond 2\^53/],
  ["form", "\ud800", /not valid Unicode/],
  ["matrix", "a", /style matrix is none of a query/],
  ["spaceDelimited", ["a b"], /has " " in a part/],
  ["pipeDelimited", { a: "b", "c|": "d" }, /has "\|" in a part/],
])("style %s has no form for %j in a query", (style, value, reason) => {
  expect(() => inQuery(style, undefined, value)).toThrow(reason);
});
