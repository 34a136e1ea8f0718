import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { messageFromJson } from "#src/json/read.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { allKinds, base64, jsonOfAllKinds } from "./all-kinds.ts";

/** What came of reading: the message, or that it was refused. */
function outcome(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof InvalidRequest)) return "refused";
    expect(error.message).toMatch(/must be (a string \(base64\)|a list, each item|an object, each value)/);
    return "refused";
  }
}

const anything = fc.oneof(
  // A message of many fields is refused for any of them.
  { weight: 60, arbitrary: fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("base64url")) },
  { weight: 3, arbitrary: base64 },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(1, true, {}, [], null) },
);

test("bytes are read wherever protobuf-es reads them, as the same bytes, and refused where it refuses them", () => {
  const seen = { read: 0, refused: 0 };
  fc.assert(
    fc.property(jsonOfAllKinds(anything) as fc.Arbitrary<JsonValue>, (json) => {
      const expected = outcome(() => fromJson(allKinds, json));
      expect(outcome(() => messageFromJson(allKinds, json))).toStrictEqual(expected);
      seen[expected === "refused" ? "refused" : "read"]++;
    }),
    { numRuns: 250 },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(50);
});

test("base64 of every form is read as protobuf-es reads it", () => {
  fc.assert(
    fc.property(base64, (blob) => {
      const expected = outcome(() => fromJson(allKinds, { blob }));
      expect(outcome(() => messageFromJson(allKinds, { blob }))).toStrictEqual(expected);
    }),
    { numRuns: 5_000 },
  );
});
