import { fromBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { run } from "./support.ts";

let service: TestService;
let upstream: Upstream;

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  await service.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:ledger",
    baseUrl: upstream.url,
    apiKey: "the-ledgers-own-key",
  });
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** Runs `buf curl`, which knows no contract of ours: it asks the service for them. */
function bufCurl(path: string, args: readonly string[], secret = service.org.secret) {
  return run("buf", ["curl", "--header", `authorization: Bearer ${secret}`, ...args, service.url + path]);
}

describe.each([
  ["Connect", ["--protocol", "connect"]],
  ["Connect over HTTP/2", ["--protocol", "connect", "--http2-prior-knowledge"]],
  ["gRPC", ["--protocol", "grpc"]],
  ["gRPC-Web", ["--protocol", "grpcweb"]],
  ["gRPC-Web over HTTP/2", ["--protocol", "grpcweb", "--http2-prior-knowledge"]],
])("buf curl over %s", (_, protocol) => {
  test("asks who it is", async () => {
    const { status, stdout } = await bufCurl("/patchbay.apikeys.v1.ApiKeyService/WhoAmI", protocol);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      organizationId: service.org.orgId,
      apiKeyId: service.org.apiKeyId,
    });
  });

  test("calls a service through its connection", async () => {
    upstream.answer({ headers: { "content-type": "application/json" }, body: '{"balance":7}' });
    const call = { service: "custom:ledger", method: "POST", path: "/balance", json: { account: "a" } };
    const path = "/patchbay.connections.v1.ConnectionService/CallService";
    const { status, stdout } = await bufCurl(path, [...protocol, "--data", JSON.stringify(call)]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ status: 200, json: { balance: 7 } });
    expect(upstream.asked.at(-1)).toMatchObject({ body: '{"account":"a"}' });
  });

  test("is told in words and as ErrorInfo which scope it lacks", async () => {
    const { secret } = await service.org.client.apiKeys.createApiKey({
      name: "narrow",
      scopes: ["audit:view"],
    });
    const path = "/patchbay.connections.v1.ConnectionService/ListConnections";
    const { status, stderr } = await bufCurl(path, protocol, secret);
    expect(status).toBe(Code.PermissionDenied << 3);
    const error = JSON.parse(stderr) as {
      code: string;
      message: string;
      details: { type: string; value: string }[];
    };
    expect(error).toMatchObject({ code: "permission_denied", message: "missing scope: connections:view" });
    const [detail] = error.details;
    expect(detail).toMatchObject({ type: "google.rpc.ErrorInfo" });
    expect(fromBinary(ErrorInfoSchema, Buffer.from(detail!.value, "base64"))).toMatchObject({
      domain: "patchbay",
      reason: "MISSING_SCOPE",
      metadata: { scope: "connections:view" },
    });
  });
});

describe.each(["grpc-v1", "grpc-v1alpha"])("buf curl, by reflection %s alone", (version) => {
  test("lists every method, without a key", async () => {
    const { status, stdout } = await run("buf", [
      "curl",
      "--list-methods",
      "--reflect-protocol",
      version,
      service.url,
    ]);
    expect(status).toBe(0);
    const listed = stdout.trim().split("\n");
    expect(listed).toContain("patchbay.connections.v1.ConnectionService/CallService");
    expect(listed).toContain("patchbay.audit.v1.AuditService/ListAuditEvents");
    expect(listed).toContain("grpc.health.v1.Health/Watch");
  });

  test("learns a contract well enough to call it", async () => {
    const args = ["--reflect-protocol", version, "--emit-defaults"];
    const { status, stdout } = await bufCurl(
      "/patchbay.connections.v1.ConnectionService/ListConnections",
      args,
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      connections: [{ serviceSlug: "custom:ledger", active: true }],
    });
  });
});
