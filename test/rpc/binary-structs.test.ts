import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ListServicesResponseSchema } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { structOfText } from "#src/json/json-text.ts";
import { withStructsWritten } from "#src/rpc/binary-structs.ts";

test("a thousand JSON objects are written in turns with other calls, though each is short", () => {
  const schema = JSON.stringify({ type: "object", description: "x".repeat(1_000) });
  const message = create(ListServicesResponseSchema, {
    catalog: [
      { slug: "a", endpoints: Array.from({ length: 1_000 }, () => ({ inputSchema: structOfText(schema) })) },
    ],
  });
  const turns = [...withStructsWritten(ListServicesResponseSchema, message)];
  expect(turns.length).toBeGreaterThan(20);
});
