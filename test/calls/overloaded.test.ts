import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

const MiB = 1024 * 1024;
const created = { status: 201, headers: { "content-type": "text/plain" } };

let service: TestService;
let upstream: Upstream;
const held = Promise.withResolvers<void>();
let holding: Promise<unknown>[];

/** Of the 32 MiB that one organisation may have on their way, 31.2 are taken by calls that wait for their answers. */
beforeAll(async () => {
  service = await startService({ memoryBudgetMib: 64 });
  upstream = await startUpstream();
  upstream.answer(async ({ url }) => {
    if (url === "/hold") await held.promise;
    if (url === "/small") return { ...created, body: "x".repeat(1024) };
    if (url === "/medium") return { ...created, body: "x".repeat(300 * 1024) };
    if (url === "/large") return { ...created, body: "x".repeat(2 * MiB) };
    return {};
  });
  await service.org.client.connections.upsertServiceConnection(wanted());
  holding = Array.from({ length: 8 }, () => upload("/hold"));
  await vi.waitUntil(() => upstream.asked.length === 8, { timeout: 60_000 });
});
afterAll(async () => {
  held.resolve();
  await Promise.all(holding);
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const wanted = () => ({ serviceSlug: "custom:store", baseUrl: upstream.url, apiKey: "k" });

function upload(path: string, bytes = 3.9 * MiB) {
  const body = { case: "raw", value: new Uint8Array(bytes) } as const;
  return service.org.client.connections.callService({ service: "custom:store", method: "POST", path, body });
}

const call = (path: string) =>
  service.org.rest("POST", "/api/service-calls", { service: "custom:store", method: "POST", path });

describe("an organisation that has as many bytes on their way as it may", () => {
  test("is answered what still finds room, and so is every other organisation", async () => {
    expect((await call("/small")).status).toBe(200);
    const other = await service.newOrganization("globex");
    await other.client.connections.upsertServiceConnection(wanted());
    const asking = { service: "custom:store", method: "POST", path: "/large" };
    expect(await other.client.connections.callService(asking)).toMatchObject({ status: 201 });
  });

  test.each(["/medium", "/large"])(
    "learns that a call was made whose answer finds no room, and not to repeat it by rote (%s)",
    async (path) => {
      const { status, headers, body } = await call(path);
      expect([status, headers.get("x-error-reason")]).toStrictEqual([503, "OVERLOADED"]);
      expect(body.error).toContain("the called service answered with status 201, so the call was made");
      expect(headers.has("retry-after")).toBe(false);
    },
  );

  test("is answered what it asks without a body, and learns that a change is made", async () => {
    const metadata = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`note${i}`, "x".repeat(200)]));
    const issue = (_: unknown, i: number) =>
      service.org.rest("POST", "/api/api-keys", { name: `key ${i}`, scopes: ["connections:use"], metadata });
    const [issued] = await Promise.all(Array.from({ length: 60 }, issue));
    // Leaves no room for a list of all these keys.
    const before = upstream.asked.length;
    holding.push(upload("/hold", 0.75 * MiB));
    await vi.waitUntil(() => upstream.asked.length > before, { timeout: 60_000 });
    const list = await service.org.rest("GET", "/api/api-keys");
    expect([list.status, JSON.stringify(list.body).length > 0.1 * MiB]).toStrictEqual([200, true]);
    const revoked = await service.org.rest("DELETE", `/api/api-keys/${issued!.body.data.apiKey.id}`);
    expect(revoked.status).toBe(200);
  });

  test("is refused another call before that is sent, and told when to come back", async () => {
    const error = ConnectError.from(await upload("/new").catch((thrown: unknown) => thrown));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: "OVERLOADED", metadata: { budget: "organisation" } },
    ]);
    expect(error.metadata.get("retry-after")).toBe("1");
    expect(upstream.asked.map(({ url }) => url)).not.toContain("/new");
  });
});
