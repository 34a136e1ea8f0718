import {
  create,
  fromBinary,
  fromJson,
  toBinary,
  type JsonValue,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CallServiceRequestSchema,
  type CallServiceRequest,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { toConnectError } from "#src/pipeline/failures.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { messageFromBinary } from "#src/rpc/binary-request.ts";

const long = "x".repeat(30_000);
type Init = MessageInitShape<typeof CallServiceRequestSchema>;
const value = (json: JsonValue) => fromJson(ValueSchema, json);
const part: fc.Arbitrary<Init> = fc.oneof(
  fc.record({ service: fc.constantFrom("a", "b", long) }),
  fc.record({ headers: fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", long)) }),
  fc.record({ query: fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom<JsonValue>(1, ["x", {}])) }),
  fc.record({
    body: fc.oneof(
      fc.constantFrom<JsonValue>({ a: [1.5, null], b: long }, [], null, "x").map((json) => ({
        case: "json" as const,
        value: value(json),
      })),
      fc.constantFrom("", long).map((text) => ({ case: "text" as const, value: text })),
      fc.constantFrom(0, 30_000).map((size) => ({ case: "raw" as const, value: new Uint8Array(size) })),
    ),
  }),
);

test("a long message is the one that protobuf-es reads, in whatever order its fields come", async () => {
  // JSON that follows JSON is refused; protobuf-es merges the two.
  const parts = fc.array(part, { maxLength: 6 }).filter((list) => {
    const choices = list.flatMap(({ body }) => body?.case ?? []);
    return !choices.some((choice, index) => choice === "json" && choices[index - 1] === "json");
  });
  await fc.assert(
    fc.asyncProperty(parts, async (list) => {
      const bytes = Buffer.concat(
        [...list, { path: long }].map((one) =>
          toBinary(CallServiceRequestSchema, create(CallServiceRequestSchema, one)),
        ),
      );
      const expected = fromBinary(CallServiceRequestSchema, bytes);
      const read = await messageFromBinary(CallServiceRequestSchema, bytes);
      expect(toBinary(CallServiceRequestSchema, read as CallServiceRequest)).toStrictEqual(
        toBinary(CallServiceRequestSchema, expected),
      );
    }),
    { numRuns: 200 },
  );
});

/** How a message with these bytes is refused. */
async function refusal(bytes: Uint8Array): Promise<ConnectError> {
  try {
    await messageFromBinary(CallServiceRequestSchema, bytes);
  } catch (error) {
    if (error instanceof ServiceError) return toConnectError(error);
    throw error;
  }
  throw new Error("it was read");
}

const headers = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, "v"]));
const request = (init: Init) => toBinary(CallServiceRequestSchema, create(CallServiceRequestSchema, init));

const jsonOf = (json: JsonValue) => request({ body: { case: "json", value: value(json) } });

describe("a long message is refused", () => {
  test.each([
    ["with more entries of maps than any needs", request({ headers: headers(10_001) }), "10000 members"],
    [
      "with more values than any needs",
      request({ query: { a: Array<number>(20_000).fill(0) } }),
      "40000 values",
    ],
    ["with more unknown fields than any needs", Buffer.alloc(90_000, Buffer.of(0x78, 1)), "40000 values"],
  ])("%s", async (_, bytes, words) => {
    const error = await refusal(bytes);
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain(words);
  });

  test.each([
    ["with a group", Buffer.concat([Buffer.of(0x7b, 0x7c), request({ path: long })])],
    ["with JSON twice", Buffer.concat([jsonOf({ a: 1 }), request({ path: long }), jsonOf({ b: 2 })])],
    ["that ends too early", request({ path: long }).subarray(0, 29_000)],
    ["whose JSON is no message", Buffer.concat([Buffer.of(0x32, 2, 0x38, 1), request({ path: long })])],
    ["whose JSON is no message's bytes", Buffer.concat([Buffer.of(0x30, 1), request({ path: long })])],
  ])("%s", async (_, bytes) => {
    // In the words for bytes that are no message at all.
    expect((await refusal(bytes)).message).toBe((await refusal(Buffer.of(0xff))).message);
  });
});
