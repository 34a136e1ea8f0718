import { create, fromJson, toBinary, toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { valueText } from "#src/json/value-text.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { atOnce } from "#src/platform/in-turns.ts";

const text = (bytes: Uint8Array) => atOnce(valueText(bytes, "json")).toString();

const name = fc.string({ unit: "binary" }).filter((one) => one.isWellFormed() && !one.includes("\0"));
const number = fc.double({ noNaN: true, noDefaultInfinity: true });
const { json } = fc.letrec<{ json: JsonValue }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 5 },
    fc.oneof(fc.constantFrom(null, true, false, -0), number, name),
    fc.array(tie("json"), { maxLength: 20 }),
    fc.dictionary(name, tie("json"), { maxKeys: 5, noNullPrototype: true }),
  ),
}));

test("a binary Value becomes the JSON that protobuf-es makes of it", () => {
  fc.assert(
    fc.property(json, (given) => {
      const value = fromJson(ValueSchema, given);
      const written = text(toBinary(ValueSchema, value));
      expect(JSON.parse(written)).toStrictEqual(JSON.parse(JSON.stringify(toJson(ValueSchema, value))));
    }),
    { numRuns: 1_000 },
  );
});

test.each(['"é\\🙂'.repeat(100_000), "x".repeat(300_000)])(
  "a long text is written as a short one, wherever it stands",
  (long) => {
    for (const given of [long, [long, 1], { a: [long], b: long }, [[], long]]) {
      const written = text(toBinary(ValueSchema, fromJson(ValueSchema, given)));
      expect(written === JSON.stringify(given)).toBe(true);
    }
  },
);

/** A value of this kind, inside a list. */
function listOf(kind: Value["kind"]) {
  const inner = create(ValueSchema, { kind });
  return toBinary(
    ValueSchema,
    create(ValueSchema, { kind: { case: "listValue", value: { values: [inner] } } }),
  );
}

describe("what JSON cannot hold is refused:", () => {
  test.each([
    ["NaN", listOf({ case: "numberValue", value: NaN }), "json: must be a finite number"],
    ["infinity", listOf({ case: "numberValue", value: Infinity }), "json: must be a finite number"],
    ["NUL", listOf({ case: "stringValue", value: "a\0" }), "json: must not contain NUL characters"],
    ["no kind", listOf({ case: undefined }), "json: must have a value"],
    ["nothing", new Uint8Array(), "json: must have a value"],
    ["an entry without a value", Buffer.from("2a050a030a0161", "hex"), "json: must have a value"],
  ])("%s", (_, bytes, message) => {
    expect(() => text(bytes)).toThrow(InvalidRequest);
    expect(() => text(bytes)).toThrow(message);
  });

  test.each([
    ["an unknown kind", "3801"],
    ["two kinds", "20012001"],
    ["a kind of the wrong type", "2201"],
    ["a name that is given twice", "2a12" + "0a070a016112022001".repeat(2)],
    ["a text that is no UTF-8", "1a01ff"],
    ["a list that is longer than its message", "3205"],
    ["fifty lists inside each other", nested(50)],
  ])("%s", (_, hex) => {
    expect(() => text(Buffer.from(hex, "hex"))).toThrow(Error);
    expect(() => text(Buffer.from(hex, "hex"))).not.toThrow(InvalidRequest);
  });

  test("but not forty-nine lists inside each other, as deep as protobuf-es reads", () => {
    expect(text(Buffer.from(nested(49), "hex"))).toBe("[".repeat(49) + "]".repeat(49));
  });
});

/** So many lists inside each other, in binary. */
function nested(lists: number): string {
  let bytes = Buffer.from("3200", "hex");
  for (let list = 1; list < lists; list++) {
    const item = Buffer.concat([Buffer.of(0x0a), length(bytes), bytes]);
    bytes = Buffer.concat([Buffer.of(0x32), length(item), item]);
  }
  return bytes.toString("hex");
}

function length(bytes: Buffer): Buffer {
  return bytes.length < 128
    ? Buffer.of(bytes.length)
    : Buffer.of((bytes.length & 0x7f) | 0x80, bytes.length >> 7);
}
