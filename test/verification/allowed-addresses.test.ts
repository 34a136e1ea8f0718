import { createClient, type ConnectError } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { reasonOf } from "#src/client/node.ts";
import { startService, type TestService } from "../support/service.ts";

const refusal = '{"error":"key is not allowed from this address"}';

/** A key that only some addresses may present. */
async function issue(service: TestService, allowedCidrs: string[]) {
  const fields = { name: "batch", scopes: ["api:manage"], allowedCidrs };
  const { status, body } = await service.org.rest("POST", "/api/api-keys", fields);
  expect(status).toBe(201);
  return { id: body.data.apiKey.id as string, secret: body.data.secret as string };
}

/** What the service answers to a key that comes through proxies. */
async function present(service: TestService, secret: string, forwardedFor?: string) {
  const headers = {
    authorization: `Bearer ${secret}`,
    ...(forwardedFor !== undefined && { "x-forwarded-for": forwardedFor }),
  };
  const answer = await fetch(`${service.url}/api/auth/me`, { headers });
  return { status: answer.status, reason: answer.headers.get("x-error-reason"), body: await answer.text() };
}

describe("a key with a list of addresses, without a proxy", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service[Symbol.asyncDispose]());

  test.each([
    ["the address", ["127.0.0.1"], 200],
    ["its network, among others", ["203.0.113.0/24", "127.0.0.0/8"], 200],
    ["the address as IPv6 shows it", ["::ffff:127.0.0.1"], 200],
    ["the address as IPv6 shows it, in hex", ["::FFFF:7F00:1"], 200],
    ["its network as IPv6 shows it", ["::ffff:127.9.9.9/104"], 200],
    ["its network, by another of its addresses", ["127.9.9.9/8"], 200],
    ["nothing, as all may", [], 200],
    ["another address", ["203.0.113.7"], 403],
    ["another network", ["10.0.0.0/8"], 403],
    ["addresses of the other version", ["2000::/3"], 403],
    ["its neighbours", ["127.0.0.2/31"], 403],
  ])("that holds %s", async (_, cidrs, status) => {
    const { secret } = await issue(service, cidrs);
    const answer = await present(service, secret);
    expect(answer.status).toBe(status);
    if (status === 403) expect(answer).toEqual({ status, reason: "ADDRESS_NOT_ALLOWED", body: refusal });
  });

  test.each(["::ffff:127.0.0.1/95", "fe80::1%eth0", "127.0.0.0/33"])(
    "cannot hold %s, which would match no address",
    async (cidr) => {
      const { status, body } = await service.org.rest("POST", "/api/api-keys", {
        name: "batch",
        scopes: ["api:manage"],
        allowedCidrs: [cidr],
      });
      expect([status, body.error]).toEqual([
        400,
        `allowedCidrs: "${cidr}" is neither an address nor a network; write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32`,
      ]);
    },
  );

  test("is let in where a service that asks about it saw the address, in any spelling", async () => {
    const { secret } = await issue(service, ["::ffff:10.1.0.0/112", "fe80::/10"]);
    const verdicts = await Promise.all(
      ["10.1.2.3", "::ffff:10.1.2.3", "::FFFF:A01:203", "fe80::1%eth0.100", "10.2.0.1", "fe80"].map(
        async (sourceIp) => {
          const asked = { key: secret, sourceIp };
          const { body } = await service.org.rest("POST", "/api/api-keys/verify", asked);
          return body.data.valid as boolean;
        },
      ),
    );
    expect(verdicts).toEqual([true, true, true, true, false, false]);
  });

  test("is not let in by what the client says of itself", async () => {
    const { secret } = await issue(service, ["203.0.113.7"]);
    const headers = {
      "x-forwarded-for": "203.0.113.7",
      forwarded: "for=203.0.113.7",
      "x-real-ip": "203.0.113.7",
    };
    const answer = await fetch(`${service.url}/api/auth/me`, {
      headers: { ...headers, authorization: `Bearer ${secret}` },
    });
    expect(answer.status).toBe(403);
  });

  test("is refused over gRPC in the same words", async () => {
    const { secret } = await issue(service, ["203.0.113.7"]);
    const client = createClient(ApiKeyService, createGrpcTransport({ baseUrl: service.url }));
    const asking = client.whoAmI({}, { headers: { authorization: `Bearer ${secret}` } });
    const error = await asking.then(
      () => undefined,
      (thrown: ConnectError) => thrown,
    );
    expect(error).toMatchObject({ rawMessage: "key is not allowed from this address" });
    expect(reasonOf(error)).toBe("ADDRESS_NOT_ALLOWED");
  });

  test("follows a change of the list at once", async () => {
    const { id, secret } = await issue(service, ["203.0.113.7"]);
    expect((await present(service, secret)).status).toBe(403);
    await service.org.rest("PATCH", `/api/api-keys/${id}`, { allowedCidrs: ["127.0.0.1"] });
    expect((await present(service, secret)).status).toBe(200);
    await service.org.rest("PATCH", `/api/api-keys/${id}`, { allowedCidrs: ["203.0.113.7"] });
    expect((await present(service, secret)).status).toBe(403);
  });

  test("is known to whoever has it: revoked it is as unknown as any, whatever its address", async () => {
    const { id, secret } = await issue(service, ["203.0.113.7"]);
    await service.org.client.apiKeys.revokeApiKey({ id });
    expect(await present(service, secret)).toMatchObject({
      status: 401,
      body: '{"error":"missing or invalid Bearer"}',
    });
  });
});

describe("a key with a list of addresses, behind two proxies", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService({ trustedProxyHops: 2, limits: { failuresPerMinute: 3 } });
  });
  afterAll(() => service[Symbol.asyncDispose]());

  test.each([
    ["from its address", "203.0.113.7, 198.51.100.1", 200],
    ["from its address, with a port", "203.0.113.7:4711, 198.51.100.1", 200],
    ["from its address over IPv6", "::ffff:203.0.113.7, 198.51.100.1", 200],
    ["from its address, with something in front", "10.9.9.9, 203.0.113.7, 198.51.100.1", 200],
    ["from another address", "203.0.113.8, 198.51.100.1", 403],
    ["from another address that claims its own", "203.0.113.7, 203.0.113.9, 198.51.100.1", 403],
    ["past the first proxy", "203.0.113.7", 403],
    ["past both", undefined, 403],
    ["from nobody knows where", "unknown, 198.51.100.1", 403],
  ])("%s", async (_, forwardedFor, status) => {
    // Each refusal is a failure of its client, and those of unknown address are one client.
    service.clock.advance(60_000);
    const { secret } = await issue(service, ["203.0.113.7/32"]);
    expect((await present(service, secret, forwardedFor)).status).toBe(status);
  });

  test("failures are counted by client, and clients whose address is not known are one", async () => {
    service.clock.advance(60_000);
    const guess = async (forwardedFor: string) =>
      (await present(service, newApiKeySecret("sandbox"), forwardedFor)).status;
    for (const from of ["192.0.2.1", "10.9.9.9, 192.0.2.1", "192.0.2.1:80"]) {
      expect(await guess(`${from}, 198.51.100.1`)).toBe(401);
    }
    expect(await guess("192.0.2.1, 198.51.100.1")).toBe(429);
    expect(await guess("192.0.2.2, 198.51.100.1")).toBe(401);
    for (const from of ["192.0.2.3", "unknown, x", ""]) expect(await guess(from)).toBe(401);
    expect(await guess("192.0.2.4")).toBe(429);
  });
});
