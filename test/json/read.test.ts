import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseJsonAtOnce } from "#src/json/read.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** What the reader says of the text; the text of its refusal if it refuses. */
function read(text: string): unknown {
  try {
    return parseJsonAtOnce(Buffer.from(text));
  } catch (error) {
    if (error instanceof InvalidRequest) return error.message;
    throw error;
  }
}

const inexact = "a double does not keep this number exactly; give it as a string";

describe("a request that JSON.parse would change is refused by the field's name:", () => {
  test.each([
    ['{"a":1,"a":1}', 'field "a" is given twice'],
    ['{"a":1,"\\u0061":2}', 'field "a" is given twice'],
    ['{"\\"":1,"\\u0022":2}', 'field """ is given twice'],
    ['{"json":[{},{"b":{"c":1,"d":[],"c":null}}]}', 'field "json[1].b.c" is given twice'],
    ['{"__proto__":1,"__proto__":2}', 'field "__proto__" is given twice'],
    ['{"":{"":1,"":2}}', 'field "." is given twice'],
    ['{"10":1,"2":1,"10":3}', 'field "10" is given twice'],
    ['[{"a":[1,2,{"x":1,"x":1}]}]', 'field "[0].a[2].x" is given twice'],
    ['{"a":{"b":1,"c":2},"a":{}}', 'field "a" is given twice'],
    ['{"a":9007199254740993}', `field "a": ${inexact}`],
    ['{"a":[0,{"b":-1.00000000000000000001}]}', `field "a[1].b": ${inexact}`],
    ['{"a":"]","b":[[],{},-0 ]}', `field "b[2]": ${inexact}`],
    ['{"a":"9007199254740993","b":{"c":1E400}}', `field "b.c": ${inexact}`],
    ["9007199254740993", `the body: ${inexact}`],
    [`{"${"x".repeat(500)}":1e400}`, `field "${"x".repeat(64)}": ${inexact}`],
  ])("%s", (text, message) => expect(read(text)).toBe(message));

  test("in a path of many long names, whose end is still said", () => {
    const deep = `${`{"${"x".repeat(64)}":`.repeat(90)}1e400${"}".repeat(90)}`;
    expect(read(deep)).toMatch(/^field "x.*…": .* give it as a string$/);
  });
});

test.each([
  '{"a":{"b":1},"b":{"b":2}}',
  '[{"a":1},{"a":1}]',
  '{"a":"a:b,a:c","b":"\\"a\\":1"}',
  '{"a":[1.0,1e2,0.30000000000000004,12345678901234567000,1e21]}',
  '{"a":"\\\\","b":"\\\\\\""}',
])("a request that loses nothing is read: %s", (text) => expect(read(text)).toStrictEqual(JSON.parse(text)));

test("a name is read up to 65,536 characters", () => {
  const read = (length: number) => parseJsonAtOnce(Buffer.from(JSON.stringify({ ["a".repeat(length)]: 1 })));
  expect(() => read(65_536)).not.toThrow();
  expect(() => read(65_537)).toThrow("the body has a name of more than 65536 characters");
});

test("a name with an escape is not read as one that stood there before, which JSON.parse of V8 does", () => {
  expect(read(String.raw`{"h":[],"\\":0}`)).toStrictEqual({ h: [], "\\": 0 });
  expect(read(String.raw`{"h":1,"\"":2}`)).toStrictEqual({ h: 1, '"': 2 });
  expect(read(String.raw`{"h":1,"\u0061":2}`)).toStrictEqual({ h: 1, a: 2 });
});

/** JSON as its writer sees it: members in order, whatever their names. */
type Written = { text: string; value: unknown; twice: boolean; inexact: boolean };

const name = fc.constantFrom("a", "b", "c", "__proto__", "0", "1", "", 'q"', "\\", "é", "🙂");

/** A name as plain text or with every character escaped. */
const writtenName = fc.tuple(name, fc.boolean()).map(([name, escaped]) => ({
  name,
  text: escaped
    ? `"${name.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`
    : JSON.stringify(name),
}));

const leaf: fc.Arbitrary<Written> = fc.oneof(
  fc
    .constantFrom("null", "true", '"{\\"a\\":1,\\"a\\":2}"', '"9007199254740993"', "1", "1.50", "-2e3")
    .map((text) => ({ text, value: JSON.parse(text) as unknown, twice: false, inexact: false })),
  fc
    .constantFrom("9007199254740993", "1e400", "-0", "0.1000000000000000000001")
    .map((text) => ({ text, value: undefined, twice: false, inexact: true })),
);

const { json } = fc.letrec<{ json: Written }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    { weight: 3, arbitrary: leaf },
    {
      weight: 1,
      arbitrary: fc.array(tie("json"), { maxLength: 4 }).map((items) => ({
        text: `[${items.map((item) => item.text).join(" , ")}]`,
        value: items.map((item) => item.value),
        twice: items.some((item) => item.twice),
        inexact: items.some((item) => item.inexact),
      })),
    },
    {
      weight: 3,
      arbitrary: fc.array(fc.tuple(writtenName, tie("json")), { maxLength: 4 }).map((members) => ({
        text: `{${members.map(([name, value]) => `${name.text} : ${value.text}`).join(",\n")}}`,
        value: Object.fromEntries(members.map(([{ name }, { value }]) => [name, value])),
        twice:
          new Set(members.map(([{ name }]) => name)).size < members.length ||
          members.some(([, value]) => value.twice),
        inexact: members.some(([, value]) => value.inexact),
      })),
    },
  ),
}));

test("what is read is what was written, and what is refused is refused for what is wrong with it", () => {
  const seen = { read: 0, twice: 0, inexact: 0 };
  fc.assert(
    fc.property(json, ({ text, value, twice, inexact: changes }) => {
      const outcome = read(text);
      if (!twice && !changes) {
        seen.read++;
        expect(outcome).toStrictEqual(value);
        return;
      }
      const saysTwice = String(outcome).endsWith(" is given twice");
      const saysInexact = String(outcome).endsWith(inexact);
      expect([saysTwice, saysInexact]).toContain(true);
      if (saysTwice) expect(twice).toBe(true);
      if (saysInexact) expect(changes).toBe(true);
      seen[saysTwice ? "twice" : "inexact"]++;
    }),
    { numRuns: 3_000 },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(20);
});

test("a long text ends at the quote that ends it, whatever escapes are in it", () => {
  const pieces = fc.constantFrom("\\", '"', "x", "x".repeat(30), "\n", "é");
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (list) => {
      const value = { a: list.join(""), b: [{ c: 1 }] };
      expect(read(JSON.stringify(value))).toStrictEqual(value);
      // That the second member is seen to be one shows that the scan found the end of the first.
      const twice = `{"a":${JSON.stringify(value.a)},"a":0}`;
      expect(read(twice)).toBe('field "a" is given twice');
    }),
    { numRuns: 1_000 },
  );
});

describe("a request has no more values than a message of ours needs:", () => {
  const members = (count: number) =>
    `{${Array.from({ length: count }, (_, index) => `"${index}":0`).join()}}`;
  const items = (count: number) => `[${Array(count).fill("0").join()}]`;

  test.each([
    ["10,000 members are read", members(10_000)],
    ["40,000 values are read", items(39_999)],
  ])("%s", (_, text) => expect(read(text)).toStrictEqual(JSON.parse(text)));

  test.each([
    ["10,001 members are refused", members(10_001), "the body has more than 10000 members of objects"],
    ["40,001 values are refused", items(40_000), "the body has more than 40000 values"],
    ["wherever they stand", `{"a":[${members(10_000)}]}`, "the body has more than 10000 members of objects"],
  ])("%s", (_, text, message) => expect(read(text)).toBe(message));

  test("those that are kept as text are not counted, but looked at as closely", () => {
    const kept = new Set(["json"]);
    const json = (text: string) => parseJsonAtOnce(Buffer.from(`{"a":1,"json":${text}}`), kept);
    for (const text of [members(20_000), items(50_000), "[ 1.0 ]", '"x"', "null"]) {
      expect(json(text)).toMatchObject({ a: 1, json: { text } });
    }
    expect(() => json('[{"b":1,"b":2}]')).toThrow('field "json[0].b" is given twice');
    expect(() => json("[1e400]")).toThrow(`field "json[0]": ${inexact}`);
    expect(() => json(String.raw`"\u0000"`)).toThrow("NUL");
    expect(() => json("[1,]")).toThrow("not valid JSON (line 1 column 18)");
  });
});
