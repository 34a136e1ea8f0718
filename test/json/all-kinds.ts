import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { execFileSync } from "node:child_process";

const args = ["build", "test/json/proto", "--as-file-descriptor-set", "-o", "-#format=binpb"];
const files = fromBinary(FileDescriptorSetSchema, execFileSync("node_modules/.bin/buf", args));

/** A message with a field of every kind. */
export const allKinds = createFileRegistry(files).getMessage("allkinds.v1.AllKinds")!;

const text = fc.oneof(
  fc.string({ unit: "binary" }).filter((one) => one.isWellFormed()),
  fc.constantFrom("__proto__", '"\\\n\u2028', "x"),
);

/** Base64 of every form, and texts that look like it. */
export const base64: fc.Arbitrary<string> = fc.oneof(
  fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("base64")),
  fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("base64url")),
  fc.string({ unit: fc.constantFrom("A", "Q", "z", "9", "+", "/", "-", "_", "=", " ", "\n"), maxLength: 12 }),
  fc.string({ unit: fc.constantFrom("Q", "=", "é", "ő", "\t", "\v", "\u00a0", ".", "\0"), maxLength: 8 }),
);

/** JSON of the message; `bytes` says what stands where base64 is expected. */
export function jsonOfAllKinds(bytes: fc.Arbitrary<unknown>): fc.Arbitrary<Record<string, unknown>> {
  const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
  const number = fc
    .oneof(fc.double(), fc.constantFrom("NaN", "Infinity", "-Infinity", -0, 1e21))
    .map((one) => (typeof one === "number" && !Number.isFinite(one) ? String(one) : one));
  const free = fc.jsonValue({ maxDepth: 3 });
  const struct = fc.dictionary(text, free, { maxKeys: 3 });
  const { message } = fc.letrec<{ message: Record<string, unknown> }>((tie) => {
    const inner = fc.oneof({ maxDepth: 2 }, fc.constant({}), tie("message"));
    const choice = fc.oneof(
      fc.constant({}),
      fc.record({ chosenBlob: bytes }),
      fc.record({ chosenWrappedBlob: bytes }),
      fc.record({ chosenInner: inner }),
      fc.record({ chosenNull: fc.constant(null) }),
      fc.record({ chosenStruct: struct }),
      fc.record({ chosenText: text }),
    );
    const others = fc.record(
      {
        blob: bytes,
        maybeBlob: bytes,
        blobs: fc.array(bytes, { maxLength: 3 }),
        blobByName: fc.dictionary(text, bytes, { maxKeys: 3 }),
        wrappedBlob: bytes,
        wrappedBlobs: fc.array(bytes, { maxLength: 3 }),
        wrappedBlobByNumber: fc.dictionary(fc.integer({ min: -9, max: 9 }).map(String), bytes, {
          maxKeys: 3,
        }),
        inner,
        inners: fc.array(inner, { maxLength: 2 }),
        innerByFlag: fc.dictionary(fc.constantFrom("true", "false"), inner),
        text,
        maybeText: text,
        int32: fc.integer(),
        uint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
        sint64: int64,
        fixed32: fc.nat(),
        double: number,
        float: fc.oneof(
          fc.float({ noNaN: true, noDefaultInfinity: true }),
          fc.constantFrom("NaN", "-Infinity"),
        ),
        flag: fc.boolean(),
        color: fc.constantFrom("COLOR_RED", "COLOR_UNSPECIFIED", 1, 7),
        colors: fc.array(fc.constantFrom("COLOR_RED", 7), { maxLength: 3 }),
        texts: fc.array(text, { maxLength: 3 }),
        textByName: fc.dictionary(text, text, { maxKeys: 3 }),
        doubleByNumber: fc.dictionary(fc.nat().map(String), number, { maxKeys: 3 }),
        at: fc.constantFrom("2026-01-31T08:00:00Z", "1969-12-31T23:59:59.999999999Z"),
        takes: fc.constantFrom("1.5s", "-3s"),
        mask: fc.constantFrom("", "oneField,another.field"),
        wrappedText: text,
        wrappedInt64: int64,
        wrappedDouble: number,
        wrappedFlags: fc.array(fc.boolean(), { maxLength: 3 }),
        struct,
        structs: fc.array(struct, { maxLength: 2 }),
        value: free,
        list: fc.array(free, { maxLength: 3 }),
        other: bytes,
      },
      { requiredKeys: [] },
    );
    return { message: fc.tuple(others, choice).map(([one, other]) => ({ ...one, ...other })) };
  });
  return message;
}
