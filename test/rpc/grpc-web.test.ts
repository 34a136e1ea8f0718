import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { frame } from "./differential/calls.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const message = frame();
const trailers = frame(Buffer.from("a: b\r\n"), { flags: 0x80 });
const emptyTrailers = frame(Buffer.alloc(0), { flags: 0x80 });

async function whoAmI(body: Buffer): Promise<string> {
  const response = await fetch(`${service.url}/patchbay.apikeys.v1.ApiKeyService/WhoAmI`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${service.org.secret}`,
      "content-type": "application/grpc-web+proto",
    },
    body,
  });
  return response.text();
}

test("the trailers of a request end it", async () => {
  expect(await whoAmI(Buffer.concat([message, trailers]))).toContain("grpc-status: 0\r\n");
});

test.each([
  ["trailers", [message, trailers, trailers]],
  ["as many empty ones as there is room for", [message, Buffer.alloc(4_000_000, emptyTrailers)]],
  ["a message", [trailers, message]],
  ["half a frame", [message, trailers, message.subarray(0, 3)]],
])("a request with %s behind its trailers is refused", async (_, parts) => {
  const answered = await whoAmI(Buffer.concat(parts));
  expect(answered).toContain("grpc-message: protocol error: data behind the trailers\r\n");
  expect(answered).toContain("grpc-status: 3\r\n");
});
