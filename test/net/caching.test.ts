import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService({ corsOrigins: ["https://app.example"] });
});
afterAll(() => service[Symbol.asyncDispose]());

describe("no answer with an organisation's data may be stored on its way", () => {
  const fields = { name: "k", scopes: ["a:view"] };

  test.each<[string, () => Transport]>([
    ["gRPC", () => createGrpcTransport({ baseUrl: service.url })],
    ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: service.url, httpVersion: "1.1" })],
    ["Connect", () => createConnectTransport({ baseUrl: service.url, httpVersion: "2" })],
    [
      "Connect with GET",
      () => createConnectTransport({ baseUrl: service.url, httpVersion: "1.1", useHttpGet: true }),
    ],
  ])("over %s, secrets and refusals included", async (_, transport) => {
    const client = createClient(ApiKeyService, transport());
    const seen: (string | null)[] = [];
    const as = (secret: string) => ({
      headers: { authorization: `Bearer ${secret}` },
      onHeader: (headers: Headers) => void seen.push(headers.get("cache-control")),
    });
    const { secret } = await client.createApiKey(fields, as(service.org.secret));
    await client.whoAmI({}, as(secret));
    await client.listApiKeys({}, as(service.org.secret));
    const refused = await client.listApiKeys({}, as(secret)).then(
      () => expect.unreachable(),
      (thrown: unknown) => ConnectError.from(thrown),
    );
    expect(refused.code).toBe(Code.PermissionDenied);
    seen.push(refused.metadata.get("cache-control"));
    // Where headers come with a refusal depends on the protocol.
    expect(new Set(seen.filter((value) => value !== null))).toEqual(new Set(["no-store"]));
    expect(seen.filter((value) => value !== null).length).toBeGreaterThanOrEqual(4);
  });

  test.each([
    ["POST", "/api/api-keys", fields, 201],
    ["GET", "/api/api-keys", undefined, 200],
    ["HEAD", "/api/api-keys", undefined, 200],
    ["GET", "/api/api-keys/key_x", undefined, 404],
    ["POST", "/api/api-keys", { name: 1 }, 400],
    ["GET", "/healthz", undefined, 200],
    ["GET", "/readyz", undefined, 200],
    ["GET", "/nothing", undefined, 404],
  ])("over REST: %s %s", async (method, path, body, status) => {
    const answer = await fetch(service.url + path, {
      method,
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
      ...(body && { body: JSON.stringify(body) }),
    });
    expect([answer.status, answer.headers.get("cache-control")]).toEqual([status, "no-store"]);
  });
});

describe("the description of the REST paths may be kept for a while", () => {
  test("and is not sent again to those who have it", async () => {
    const first = await fetch(`${service.url}/openapi.json`);
    expect(first.headers.get("cache-control")).toBe("public, max-age=300");
    expect(await first.text()).toBe(await readFile("gen/openapi.json", "utf8"));
    const tag = first.headers.get("etag")!;
    // One that is the same for each coding of the bytes promises nothing about them.
    expect(tag).toMatch(/^W\/"/);
    for (const known of [tag, tag.slice(2), `"other", ${tag}`, "*"]) {
      const again = await fetch(`${service.url}/openapi.json`, { headers: { "if-none-match": known } });
      expect([again.status, again.headers.get("etag"), await again.text()]).toEqual([304, tag, ""]);
    }
    const other = await fetch(`${service.url}/openapi.json`, { headers: { "if-none-match": '"other"' } });
    expect(other.status).toBe(200);
  });
});
