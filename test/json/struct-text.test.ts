import { create, fromBinary, toBinary, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ListServicesResponseSchema } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { structOfText } from "#src/json/json-text.ts";
import { jsonPiecesOf } from "#src/json/write.ts";
import { binaryOf } from "#src/rpc/binary-answer.ts";

/** Integers as names would be moved to the front by the object that protobuf-es takes. */
const name = fc.string({ unit: "binary" }).filter((one) => one.isWellFormed() && !/^\d+$/.test(one));
const { json } = fc.letrec<{ json: JsonValue }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(fc.constantFrom(null, true, 0, 1.5, 9007199254740994), fc.string()),
    fc.array(tie("json"), { maxLength: 5 }),
    fc.dictionary(name, tie("json"), { maxKeys: 5, noNullPrototype: true }),
  ),
}));
const object = fc.dictionary(name, json, { maxKeys: 5, noNullPrototype: true });

const answerOf = (schemas: readonly JsonObject[]) =>
  create(ListServicesResponseSchema, {
    catalog: [
      { slug: "aml", endpoints: schemas.map((inputSchema) => ({ method: "POST", path: "/", inputSchema })) },
      { slug: "custom:empty" },
    ],
    nextPageToken: "more",
  });

test("a JSON object that is kept as text is written as one that was parsed, in JSON and in binary, to the byte", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(object, { maxLength: 3 }), async (schemas) => {
      const parsed = answerOf(schemas);
      const kept = answerOf(schemas.map((schema) => structOfText(JSON.stringify(schema))));
      const written = [];
      for (const message of [parsed, kept]) {
        const pieces = await jsonPiecesOf(ListServicesResponseSchema, message);
        const bytes = Buffer.concat(await binaryOf(ListServicesResponseSchema, message));
        written.push({ json: Buffer.concat(pieces).toString(), bytes: bytes.toString("hex") });
      }
      expect(written[1]?.json).toBe(written[0]?.json);
      const read = fromBinary(ListServicesResponseSchema, Buffer.from(written[1]?.bytes ?? "", "hex"));
      expect(read).toStrictEqual(
        fromBinary(ListServicesResponseSchema, toBinary(ListServicesResponseSchema, parsed)),
      );
      // What knows nothing of texts looks into it and finds what it would find otherwise.
      expect(toBinary(ListServicesResponseSchema, kept)).toStrictEqual(
        toBinary(ListServicesResponseSchema, parsed),
      );
    }),
    { numRuns: 100 },
  );
});
