import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  const connection = { serviceSlug: "custom:json", baseUrl: upstream.url, apiKey: "the-siblings-own-key" };
  await service.org.client.connections.upsertServiceConnection(connection);
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const call = { service: "custom:json", method: "GET" };

async function overJson(path: string): Promise<string> {
  const response = await fetch(service.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
    body: JSON.stringify(call),
  });
  expect(response.status).toBe(200);
  return response.text();
}

const overRest = () => overJson("/api/service-calls");
const overConnect = () => overJson("/patchbay.connections.v1.ConnectionService/CallService");

async function overGrpc() {
  const { body } = await service.org.client.connections.callService(call);
  return body.case === "json" ? toJson(ValueSchema, body.value) : `${body.case}`;
}

test("JSON arrives over REST, Connect and gRPC as the service sent it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue({ maxDepth: 4 }), async (value) => {
      const body = JSON.stringify(value);
      upstream.answer({ body });
      expect((JSON.parse(await overRest()) as { data: unknown }).data).toHaveProperty(
        "json",
        JSON.parse(body),
      );
      expect(JSON.parse(await overConnect())).toHaveProperty("json", JSON.parse(body));
      expect(await overGrpc()).toStrictEqual(JSON.parse(body));
    }),
    { numRuns: 30 },
  );
});

test("over REST also in the service's own spelling, white space and escapes included", async () => {
  const body = String.raw`{ "a" : [1.0, 1E+2, "\u00e9\/"],` + '\n "b" : {"__proto__":null} }';
  upstream.answer({ body: `\ufeff${body}` });
  expect(await overRest()).toContain(`"json":${body}}`);
  expect(JSON.parse(await overConnect())).toHaveProperty("json", JSON.parse(body));
  expect(await overGrpc()).toStrictEqual(JSON.parse(body));
});

test("JSON that a message would change is text on each of them", async () => {
  const body = '{"id":9007199254740993}';
  upstream.answer({ body });
  expect(JSON.parse(await overRest())).toMatchObject({ data: { text: body } });
  expect(JSON.parse(await overConnect())).toMatchObject({ text: body });
  expect(await overGrpc()).toBe("text");
});
