import { create, fromJson, toJson, type JsonValue } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jsonOf, type JsonShape } from "#src/json/write.ts";
import { allKinds, jsonOfAllKinds } from "./all-kinds.ts";

async function written(json: JsonValue, shape?: JsonShape): Promise<string> {
  const text = jsonOf(allKinds, fromJson(allKinds, json), shape);
  return typeof text === "string" ? text : Buffer.concat(await text).toString();
}

const expectedOf = (json: JsonValue) =>
  toJson(allKinds, fromJson(allKinds, json), { alwaysEmitImplicit: true }) as Record<string, JsonValue>;

const plain = fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("base64"));
const messages = jsonOfAllKinds(plain) as fc.Arbitrary<Record<string, JsonValue>>;

test("a message of any kind is written as protobuf-es writes it, to the letter", async () => {
  await fc.assert(
    fc.asyncProperty(messages, async (json) => {
      expect(await written(json)).toBe(JSON.stringify(expectedOf(json)));
    }),
    { numRuns: 150 },
  );
});

test("one field of it is written alone, and null if it is not set", async () => {
  const only = fc.constantFrom(...allKinds.fields);
  await fc.assert(
    fc.asyncProperty(messages, only, async (json, only) => {
      const value = expectedOf(json)[only.jsonName] ?? null;
      expect(await written(json, { only })).toBe(JSON.stringify(value));
      expect(await written(json, { only, wrapIn: "data" })).toBe(JSON.stringify({ data: value }));
    }),
  );
});

describe("what is long is written as what is short,", () => {
  const long = fc.integer({ min: 200_000, max: 900_000 });
  const unit = fc.constantFrom("a", "é", "日", "🙂", "\u0001", '"', "\ud83d", "\udc00");

  test("whatever is cut in two when it is written piece by piece", async () => {
    await fc.assert(
      fc.asyncProperty(long, unit, fc.constantFrom("", "."), async (length, unit, before) => {
        const text = before + unit.repeat(length / unit.length);
        const message = create(allKinds, { text, blob: Buffer.from(text), texts: [text, ""] });
        const json = await jsonOf(allKinds, message, { wrapIn: "data" });
        expect(typeof json).toBe("object");
        const read = JSON.parse(Buffer.concat(json as Buffer[]).toString()) as { data: unknown };
        const expected = toJson(allKinds, message, { alwaysEmitImplicit: true });
        // A comparison of megabytes that shows no difference, which would be a report of megabytes.
        expect(JSON.stringify(read.data) === JSON.stringify(expected)).toBe(true);
      }),
      { numRuns: 6 },
    );
  });
});
