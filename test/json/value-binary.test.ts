import { fromJson, toBinary, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { valueBinary } from "#src/json/value-binary.ts";
import { atOnce } from "#src/platform/in-turns.ts";

/** Integers as names would be moved to the front by the object that protobuf-es takes. */
const name = fc.string({ unit: "binary" }).filter((one) => one.isWellFormed() && !/^\d+$/.test(one));
const text = fc.oneof(
  fc.string({ unit: "binary" }).filter((one) => one.isWellFormed()),
  // Around the lengths at which the length is one byte longer, in bytes and in characters.
  fc.tuple(fc.integer({ min: 100, max: 140 }), fc.constantFrom("x", "é", "日")).map(([n, c]) => c.repeat(n)),
);
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).filter((one) => !Object.is(one, -0));
const { json } = fc.letrec<{ json: JsonValue }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 5 },
    fc.oneof(fc.constantFrom(null, true, false, 0), number, text),
    fc.array(tie("json"), { maxLength: 20 }),
    fc.dictionary(name, tie("json"), { maxKeys: 5, noNullPrototype: true }),
  ),
}));

test("JSON becomes the binary Value that protobuf-es makes of it, to the byte", () => {
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 1, "\t"), (value, space) => {
      const expected = toBinary(ValueSchema, fromJson(ValueSchema, value));
      const written = atOnce(valueBinary(JSON.stringify(value, null, space)));
      expect(Buffer.from(written).equals(expected)).toBe(true);
    }),
    { numRuns: 3_000 },
  );
});
