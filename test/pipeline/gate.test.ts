import { create } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { createContextValues, createHandlerContext } from "@connectrpc/connect";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  ApiKeyService,
  RevokeApiKeyRequestSchema,
  type RevokeApiKeyRequest,
} from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { createLog } from "#src/cli/log.ts";
import { callKey, type Call } from "#src/platform/caller.ts";
import { createCallUnary } from "#src/pipeline/call-unary.ts";
import { createReportFailure } from "#src/pipeline/report-failure.ts";
import { createBehindGate } from "#src/pipeline/behind-gate.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const createKey = "/patchbay.apikeys.v1.ApiKeyService/CreateApiKey";

describe("a caller without a valid key gets its refusal before its body is read", () => {
  test.each([
    ["REST", "/api/api-keys", "application/json"],
    ["Connect", createKey, "application/json"],
    ["gRPC-Web", createKey, "application/grpc-web+proto"],
  ])("over %s on HTTP/1.1, and is hung up on", async (_, path, type) => {
    const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
    // A megabyte is announced and never sent.
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: 1000000\r\n\r\n{`,
    );
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 (401 Unauthorized|200 OK)\r\n/);
    expect(answer).toMatch(/missing or invalid Bearer|missing%20or%20invalid%20Bearer/);
  });

  test("over gRPC, and the stream ends", async () => {
    const session = connectHttp2(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": createKey,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.write(Buffer.from([0, 0, 0, 0x10, 0]));
    const trailers = await new Promise<Record<string, unknown>>((resolve) => {
      stream.on("response", (headers) => "grpc-status" in headers && resolve(headers));
      stream.on("trailers", resolve);
      stream.resume();
    });
    expect(trailers).toMatchObject({ "grpc-status": "16", "grpc-message": "missing or invalid Bearer" });
    session.destroy();
  });
});

describe("a key that is revoked while its request is still being sent is refused all the same", () => {
  const body = JSON.stringify({ name: "late", scopes: ["a:view"] });

  async function issue(scopes: string[]) {
    const { apiKeys } = service.org.client;
    const { apiKey, secret } = await apiKeys.createApiKey({ name: "leaked", scopes });
    const { id } = apiKey!;
    const isInside = async () => (await apiKeys.getApiKey({ id })).apiKey?.lastUsedAt !== undefined;
    return {
      secret,
      async revokeOnceInside() {
        await vi.waitUntil(isInside, { timeout: 50_000, interval: 5 });
        await apiKeys.revokeApiKey({ id });
      },
    };
  }

  test.each([
    ["REST", "/api/api-keys", "HTTP/1.1 401 Unauthorized"],
    ["Connect", createKey, "HTTP/1.1 401 Unauthorized"],
  ])("over %s", async (_, path, status) => {
    const { secret, revokeOnceInside } = await issue(["api:manage", "a:view"]);
    const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${secret}\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 9)}`,
    );
    await revokeOnceInside();
    socket.write(body.slice(9));
    const answer = await text(socket);
    expect(answer).toContain(status);
    expect(answer).toContain("missing or invalid Bearer");
  });

  test("as a stream of changes", async () => {
    const { secret, revokeOnceInside } = await issue(["keys:verify"]);
    const session = connectHttp2(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/patchbay.verification.v1.VerificationService/WatchRevocations",
      "content-type": "application/grpc",
      authorization: `Bearer ${secret}`,
      te: "trailers",
    });
    stream.write(Buffer.from([0]));
    await revokeOnceInside();
    stream.end(Buffer.from([0, 0, 0, 0]));
    const trailers = await new Promise<Record<string, unknown>>((resolve) => {
      stream.on("response", (headers) => "grpc-status" in headers && resolve(headers));
      stream.on("trailers", resolve);
      stream.resume();
    });
    expect(trailers).toMatchObject({ "grpc-status": "16", "grpc-message": "missing or invalid Bearer" });
    session.destroy();
  });
});

test("two Authorization headers are refused, although either alone would do", async () => {
  const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
  const line = `authorization: Bearer ${service.org.secret}\r\n`;
  socket.write(`GET /api/auth/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${line}${line}\r\n`);
  expect(await text(socket)).toContain('{"error":"missing or invalid Bearer"}');
});

test("the scheme's case does not matter, the secret's does", async () => {
  const ask = (authorization: string) => fetch(`${service.url}/api/auth/me`, { headers: { authorization } });
  expect((await ask(`bEARER ${service.org.secret}`)).status).toBe(200);
  const swapped = service.org.secret.replace(/[A-Z](?=[^_]*$)/, (letter) => letter.toLowerCase());
  expect((await ask(`Bearer ${swapped}`)).status).toBe(401);
});

describe("behind the gate", () => {
  const { revokeApiKey } = ApiKeyService.method;
  const lines: string[] = [];
  const log = createLog("error", { write: (line: string) => void lines.push(line) });
  const behindGate = createBehindGate(createValidator());

  async function callWith(
    handle: (request: RevokeApiKeyRequest, call: Call) => object,
    state: Partial<Call>,
  ) {
    const call: Call = {
      requestId: "r",
      authorizationLines: 1,
      rpc: "Revoke",
      auditActions: ["api_key.revoke"],
      ...state,
    };
    const impl = { revokeApiKey: (request: RevokeApiKeyRequest) => handle(request, call) };
    const context = createHandlerContext({
      service: ApiKeyService,
      method: revokeApiKey,
      protocolName: "test",
      requestMethod: "POST",
      url: "",
      contextValues: createContextValues().set(callKey, call),
    });
    const callUnary = createCallUnary([{ desc: ApiKeyService, impl }], behindGate, createReportFailure(log, { note: () => {} }));
    return callUnary(revokeApiKey, create(RevokeApiKeyRequestSchema, { id: "key_1" }), context);
  }

  test("a request that did not pass it is refused, whatever transport it came by", async () => {
    const handled = callWith(() => ({}), {});
    await expect(handled).rejects.toThrow(/missing or invalid Bearer/);
  });

  test("the success of an audited call that recorded nothing is a fault of ours", async () => {
    await expect(callWith(() => ({}), { passedGate: true })).rejects.toThrow(/internal error/);
    expect(lines.join("")).toContain("Revoke succeeded without an audit event");
    const settle = (_: unknown, call: Call) => {
      call.settled = true;
      return {};
    };
    await expect(callWith(settle, { passedGate: true })).resolves.toBeDefined();
  });

  test("what is thrown unforeseen tells the caller nothing and the log everything", async () => {
    const fail = () => {
      throw new TypeError("column secret_hash of 10.0.0.7");
    };
    await expect(callWith(fail, { passedGate: true })).rejects.toThrow(
      /^\[internal\] internal error; ask the operator/,
    );
    expect(lines.join("")).toContain("column secret_hash of 10.0.0.7");
  });
});
