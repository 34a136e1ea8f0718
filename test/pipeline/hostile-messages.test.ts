import { toBinary, create, type MessageInitShape, type DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CreateApiKeyRequestSchema } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { CallServiceRequestSchema } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { reasonOf } from "#src/client/node.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  await service.org.client.connections.upsertServiceConnection({
    serviceSlug: "aml",
    baseUrl: upstream.url,
    apiKey: "k",
  });
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

async function post<Desc extends DescMessage>(path: string, desc: Desc, init: MessageInitShape<Desc>) {
  const response = await fetch(service.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/proto" },
    body: new Uint8Array(toBinary(desc, create(desc, init))),
  });
  return {
    status: response.status,
    body:
      response.headers.get("content-type") === "application/json"
        ? ((await response.json()) as { message: string })
        : undefined,
  };
}

describe("a binary message with a value that its type can hold and no calendar or number can", () => {
  test.each([
    ["seconds beyond all years", { seconds: 2n ** 62n }],
    ["the last of all seconds", { seconds: 2n ** 63n - 1n }],
    ["the first of all seconds", { seconds: -(2n ** 63n) }],
    ["the year 10000", { seconds: 253402300800n }],
    ["negative nanoseconds", { seconds: 4102444800n, nanos: -5 }],
    ["two seconds of nanoseconds", { seconds: 4102444800n, nanos: 2_000_000_000 }],
  ])("is refused for %s", async (_, expiresAt) => {
    const path = "/patchbay.apikeys.v1.ApiKeyService/CreateApiKey";
    const reply = await post(path, CreateApiKeyRequestSchema, { name: "k", scopes: ["a:view"], expiresAt });
    expect([reply.status, reply.body?.message]).toStrictEqual([400, expect.stringContaining("expiresAt")]);
  });

  test.each([
    ["NaN", { case: "numberValue", value: NaN } as const],
    ["infinity", { case: "numberValue", value: Infinity } as const],
    ["no kind", { case: undefined } as const],
  ])("is refused for JSON that is %s", async (_, kind) => {
    const path = "/patchbay.connections.v1.ConnectionService/CallService";
    const body = { case: "json", value: { kind } } as const;
    const reply = await post(path, CallServiceRequestSchema, {
      service: "aml",
      method: "POST",
      path: "/",
      body,
    });
    expect(reply.status).toBe(400);
  });
});

describe.each(["/api/service-calls", "/patchbay.connections.v1.ConnectionService/CallService"])(
  "JSON to %s is refused by the field's name",
  (path) => {
    test.each([
      ["json", "9007199254740993", 'field "json": a double does not keep this number exactly'],
      ["json", "[1e400]", 'field "json[0]": a double does not keep this number exactly'],
      ["query", '{"id":9007199254740993}', 'field "query.id": a double does not keep this number exactly'],
      ["json", '{"a":{"b":1,"b":2}}', 'field "json.a.b" is given twice'],
      ["query", String.raw`{"a":1,"\u0061":2}`, 'field "query.a" is given twice'],
      ["headers", '{"x-a":"1","x-a":"1"}', 'field "headers.x-a" is given twice'],
      ["path", '"/","path":"/other"', 'field "path" is given twice'],
    ])("for %s: %s", async (field, value, text) => {
      const before = upstream.asked.length;
      const fields = { service: '"aml"', method: '"POST"', path: '"/"', [field]: value };
      const response = await fetch(service.url + path, {
        method: "POST",
        headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
        body: `{${Object.entries(fields)
          .map(([name, value]) => `"${name}":${value}`)
          .join()}}`,
      });
      expect(response.status).toBe(400);
      const { error, message = error } = (await response.json()) as { error?: string; message?: string };
      expect(message).toContain(text);
      expect(upstream.asked).toHaveLength(before);
    });
  },
);

test("names with escapes arrive over Connect as they are, whatever names stood in their place before", async () => {
  const sent = [String.raw`{"h":[],"\\":0}`, String.raw`{"h":1,"\u0061":2}`];
  for (const json of sent) {
    await fetch(`${service.url}/patchbay.connections.v1.ConnectionService/CallService`, {
      method: "POST",
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
      body: `{"service":"aml","method":"POST","path":"/","json":${json}}`,
    });
  }
  expect(upstream.asked.slice(-2).map(({ body }) => body)).toStrictEqual(sent);
});

test.each([
  ["Connect", "application/json", "connect-timeout-ms", "9999999999", "{}"],
  ["gRPC-Web", "application/grpc-web+proto", "grpc-timeout", "99999999S", "\0\0\0\0\0"],
])(
  "a deadline over %s longer than any timer is a long one, not none",
  async (_, type, header, deadline, body) => {
    const response = await fetch(`${service.url}/patchbay.apikeys.v1.ApiKeyService/WhoAmI`, {
      method: "POST",
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": type, [header]: deadline },
      body,
    });
    expect(response.status).toBe(200);
    expect(await response.text()).toContain(service.org.apiKeyId);
  },
);

test("an error about something very long does not end the caller's connection", async () => {
  const { connections, apiKeys } = service.org.client;
  const long = "x".repeat(100_000);
  const refused = [
    connections.callService({ service: "aml", method: "GET", path: "/", query: { [long]: {} } }),
    connections.callService({ service: "aml", method: "GET", path: "/", headers: { [`${long} `]: "1" } }),
    apiKeys.updateApiKey({ id: "key_1", updateMask: { paths: [long] } }),
    apiKeys.createApiKey({ name: "k", scopes: Array.from({ length: 200 }, () => "y".repeat(65)) }),
  ];
  for (const one of await Promise.allSettled(refused)) {
    const error = one.status === "rejected" ? (one.reason as unknown) : undefined;
    expect(ConnectError.from(error).code).toBe(Code.InvalidArgument);
    expect(reasonOf(error)).toMatch(/^INVALID|^IMMUTABLE/);
  }
  await expect(apiKeys.whoAmI({})).resolves.toBeDefined();
});

test.each(["a b%%[", "[", ""])("the Host %j is refused with an answer", async (host) => {
  const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
  socket.write(
    `POST /patchbay.apikeys.v1.ApiKeyService/WhoAmI HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n` +
      "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
  );
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
});

test.each([
  ["a Connect GET whose base64 is none", "?encoding=proto&base64=1&message=!!!"],
  ["a Connect GET that is compressed", "?encoding=json&message=e30&base64=1&compression=gzip"],
])("%s is the caller's mistake", async (_, query) => {
  const reply = await service.org.rest("GET", `/patchbay.apikeys.v1.ApiKeyService/WhoAmI${query}`);
  expect(reply.status).toBe(400);
});

test("a method that does not exist is unimplemented in the terms of gRPC", async () => {
  const response = await fetch(`${service.url}/patchbay.apikeys.v1.ApiKeyService/Nothing`, {
    method: "POST",
    headers: { "content-type": "application/grpc" },
  });
  expect([response.status, response.headers.get("grpc-status")]).toStrictEqual([200, "12"]);
});

test("an update that names nothing to change is refused", async () => {
  const { apiKey } = await service.org.client.apiKeys.createApiKey({ name: "k", scopes: ["a:view"] });
  const nothing = expect.stringMatching(
    /^nothing to change; give one of name, scopes, actAsUserId, /,
  ) as string;
  const reply = await service.org.rest("PATCH", `/api/api-keys/${apiKey!.id}`, {});
  expect([reply.status, reply.body]).toStrictEqual([400, { error: nothing }]);
  const update = service.org.client.apiKeys.updateApiKey({ id: apiKey!.id, updateMask: { paths: [] } });
  await expect(update).rejects.toMatchObject({ code: Code.InvalidArgument, rawMessage: nothing });
});

describe("what is far too large is refused by its size alone, whatever else is wrong with it", () => {
  const wanted = { name: "k", scopes: ["a:view"] };
  const many = <T>(count: number, item: T) => Array.from({ length: count }, () => item);
  const notes = (count: number) => Object.fromEntries(many(count, 0).map((_, index) => [`n${index}\n`, "v"]));
  test.each([
    ["a text", { name: "\n".repeat(1 << 20) }, "name: must be at most 200 characters"],
    ["a message", { scopes: many(300_000, "\n") }, "the body has more than 40000 values"],
    ["a list", { scopes: many(30_000, "\n") }, "scopes: must contain no more than 200 item(s)"],
    ["an item", { scopes: ["\n".repeat(1 << 20)] }, "scopes[0]: must be at most 64 characters"],
    ["a map", { metadata: notes(51) }, "metadata: map must be at most 50 entries"],
    [
      "a name",
      { metadata: { ["\n".repeat(1 << 20)]: "v" } },
      "metadata: each name must be at most 64 characters",
    ],
    ["a value", { metadata: { note: "\n".repeat(1 << 20) } }, "metadata[…]: must be at most 512 characters"],
  ])("%s", async (_, fields, message) => {
    const refusal = { code: Code.InvalidArgument, rawMessage: message };
    const asking = service.org.client.apiKeys.createApiKey({ ...wanted, ...fields });
    await expect(asking).rejects.toMatchObject(refusal);
  });

  test("and what is just too large, by its rule", async () => {
    const asking = service.org.client.apiKeys.createApiKey({ ...wanted, name: "🙂".repeat(201) });
    await expect(asking).rejects.toMatchObject({ rawMessage: "name: must be at most 200 characters" });
    const { apiKey } = await service.org.client.apiKeys.createApiKey({ ...wanted, name: "🙂".repeat(200) });
    expect(apiKey!.name).toHaveLength(400);
  });
});

test("a value that cannot be stored is named as it stands in the request, also as one of several", async () => {
  const { apiKeys, verification } = service.org.client;
  const wanted = { name: "k", scopes: ["a:view"], environment: "sandbox" };
  const presented = { case: "key", value: `aml_${"\0".repeat(20)}` } as const;
  await expect(apiKeys.importKey({ ...wanted, presented })).rejects.toMatchObject({
    rawMessage: "key: must not contain NUL characters",
  });
  await expect(apiKeys.importKey(wanted)).rejects.toMatchObject({ rawMessage: "give one of key, sha256" });
  await expect(
    verification.verifyKeys({ requests: [{ key: "k" }, { key: "k", scopes: ["a:view", "\0"] }] }),
  ).rejects.toMatchObject({ rawMessage: "requests[1].scopes[1]: must not contain NUL characters" });
});

test.each(["application/json; charset=utf8", "application/json;charset=UTF-8"])(
  "a body of type %s is read over REST and over Connect",
  async (type) => {
    for (const path of ["/api/api-keys", "/patchbay.apikeys.v1.ApiKeyService/CreateApiKey"]) {
      const body = { name: "k", scopes: ["a:view"] };
      const reply = await service.org.rest("POST", path, body, { "content-type": type });
      expect(reply.status).toBeOneOf([200, 201]);
    }
  },
);
