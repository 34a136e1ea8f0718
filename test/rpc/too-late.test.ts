import { once } from "node:events";
import { connect } from "node:http2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toBinary, create } from "@bufbuild/protobuf";
import { UpsertUserRequestSchema } from "#gen/patchbay/directory/v1/directory_service_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { startService, type TestService } from "../support/service.ts";

const path = "/patchbay.directory.v1.DirectoryService/UpsertUser";

describe.each(["on", "off"] as const)("with the lane %s", (unaryLane) => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService({ unaryLane });
  });
  afterAll(() => service[Symbol.asyncDispose]());

  async function emails(): Promise<string[]> {
    const { users } = await service.org.client.directory.listUsers({});
    return users.map(({ email }) => email);
  }

  test("what a call asks for whose body comes after its deadline is not done", async () => {
    const session = connect(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/json",
      authorization: `Bearer ${service.org.secret}`,
      "connect-timeout-ms": "20",
    });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[":status"]).toBe(504);
    stream.on("error", () => undefined);
    const closed = once(stream, "close");
    stream.resume().end(JSON.stringify({ email: "late@example.com" }));
    await closed;
    session.destroy();
    expect(await emails()).toStrictEqual([]);
  });

  const message = Buffer.from(
    toBinary(UpsertUserRequestSchema, create(UpsertUserRequestSchema, { email: "b@example.com" })),
  );

  test("what a call asks for that leaves no time is not done, over Connect", async () => {
    for (const [type, body] of [
      ["application/json", JSON.stringify({ email: "a@example.com" })],
      ["application/proto", message],
    ] as const) {
      const { status } = await fetch(service.url + path, {
        method: "POST",
        headers: {
          "content-type": type,
          authorization: `Bearer ${service.org.secret}`,
          "connect-timeout-ms": "0",
        },
        body,
      });
      expect(status).toBe(504);
    }
    expect(await emails()).toStrictEqual([]);
  });

  test("whoever has no good key learns that, however little time it gives", async () => {
    for (let i = 0; i < 5; i++) {
      const { status } = await fetch(service.url + path, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          authorization: `Bearer ${newApiKeySecret("sandbox")}`,
          "connect-timeout-ms": "0",
        },
        body: "{}",
      });
      expect(status).toBe(401);
    }
  });
});
