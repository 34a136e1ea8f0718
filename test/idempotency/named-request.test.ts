import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { namedRequest } from "#src/idempotency/named-request.ts";

const { callService } = services.connections.method;

test("requests with long bytes are told apart by digests, which are made in a moment", async () => {
  const textOf = async (raw: Uint8Array, path = "/") => {
    const body = { case: "raw", value: raw } as const;
    const message = create(callService.input, { service: "aml", method: "PUT", path, body });
    return (await namedRequest("k", callService, message, "")).text;
  };
  const [one, other] = [new Uint8Array(3_000_000), new Uint8Array(3_000_000)];
  other[2_999_999] = 1;
  expect(await textOf(one)).toBe(await textOf(one.slice()));
  expect(await textOf(other)).not.toBe(await textOf(one));
  expect(await textOf(one, "/x")).not.toBe(await textOf(one));
  // As base64, it would be a text of 4 million characters.
  expect((await textOf(one)).length).toBeLessThan(300);
  expect(await textOf(Uint8Array.of(1))).toContain('"raw":"AQ=="');
});
