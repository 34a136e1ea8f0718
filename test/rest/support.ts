import {
  clone,
  create,
  createFileRegistry,
  type DescService,
  fromBinary,
  type JsonValue,
  type MessageInitShape,
  setExtension,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema, MethodOptionsSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { http } from "#gen/google/api/annotations_pb.js";
import { HttpRuleSchema } from "#gen/google/api/http_pb.js";
import { limits, LimitsSchema, rest, RestShapeSchema } from "#gen/patchbay/options/v1/options_pb.js";
import { createLane } from "#src/pipeline/lane.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { createRestHandler, type RestOptions } from "#src/rest/handler.ts";
import type { HttpFailure } from "#src/platform/http-failure.ts";

// The test's protos stand beside the real modules only here, so that no other build sees them.
const modules = [
  { path: "test/rest/proto" },
  { path: "proto", excludes: ["proto/vendor"] },
  { path: "proto/vendor" },
];
const config = JSON.stringify({ version: "v2", modules });
const args = [
  "build",
  ".",
  "--config",
  config,
  "--as-file-descriptor-set",
  "--exclude-source-info",
  "-o",
  "-#format=binpb",
];
const files = fromBinary(
  FileDescriptorSetSchema,
  execFileSync("node_modules/.bin/buf", args, { maxBuffer: 1 << 24 }),
);

const registry = createFileRegistry(files);

/** The service of test/rest/proto, whose every method answers its request. */
export const library = registry.getService("library.v1.Library")!;
/** One with a rule that its OpenAPI document could not say. */
export const unsayable = registry.getService("library.v1.Unsayable")!;

/** A service with one method that has this rule. */
export function serviceWith(
  rule: MessageInitShape<typeof HttpRuleSchema>,
  shape: {
    idempotencyLevel?: number;
    serverStreaming?: boolean;
    successStatus?: number;
    etag?: boolean;
  } = {},
): DescService {
  const copy = clone(FileDescriptorSetSchema, files);
  const proto = copy.file.find((file) => file.name === "library.proto")!.service[0]!;
  const [method] = proto.method;
  method!.serverStreaming = shape.serverStreaming ?? false;
  method!.options = create(MethodOptionsSchema, { idempotencyLevel: shape.idempotencyLevel ?? 1 });
  setExtension(method!.options, http, create(HttpRuleSchema, rule));
  const { successStatus = 0, etag = false } = shape;
  if (successStatus || etag) {
    setExtension(method!.options, rest, create(RestShapeSchema, { successStatus, etag }));
  }
  proto.method = [method!];
  return createFileRegistry(copy).getService("library.v1.Library")!;
}

/** The library, whose methods have these limits. */
export function libraryWith(given: MessageInitShape<typeof LimitsSchema>): DescService {
  const copy = clone(FileDescriptorSetSchema, files);
  const [proto] = copy.file.find((file) => file.name === "library.proto")!.service;
  for (const { options } of proto!.method) {
    if (options !== undefined) setExtension(options, limits, create(LimitsSchema, given));
  }
  return createFileRegistry(copy).getService("library.v1.Library")!;
}

const statuses: Readonly<Record<string, number>> = {
  INVALID_REQUEST: 400,
  UNKNOWN_PATH: 404,
  METHOD_NOT_ALLOWED: 405,
  MESSAGE_TOO_LARGE: 413,
  UNSUPPORTED_CONTENT_TYPE: 415,
  DEADLINE_EXCEEDED: 504,
};

function errorFrom(error: unknown): HttpFailure {
  if (error instanceof ServiceError) {
    const { message, reason, headers } = error;
    return { status: statuses[reason]!, message, reason, headers };
  }
  const { code, rawMessage: message } = ConnectError.from(error);
  if (code === Code.Unauthenticated) {
    return { status: 401, message, reason: "INVALID_BEARER", headers: { "www-authenticate": "Bearer" } };
  }
  if (code === Code.DeadlineExceeded)
    return { status: 504, message, reason: "DEADLINE_EXCEEDED", headers: {} };
  return { status: 500, message: "internal error", reason: "INTERNAL", headers: {} };
}

type LaneParts = Parameters<typeof createLane>[0];

/** A running REST server over HTTP/1.1 and over HTTP/2, with what its methods were called with. */
export async function startRest(overrides: Partial<RestOptions & LaneParts> = {}) {
  const called: { method: string; request: JsonValue; signal: AbortSignal; url: string }[] = [];
  const thrown: unknown[] = [];
  const lane = createLane({
    gate: () => Promise.resolve(),
    call: (method, request, { signal, url }) => {
      called.push({ method: method.name, request: toJson(method.input, request), signal, url });
      return Promise.resolve(request);
    },
    contextValues: createContextValues,
    ...overrides,
  });
  const handler = createRestHandler({
    contracts: [library],
    lane,
    failureOf: (error) => {
      thrown.push(error);
      return errorFrom(error);
    },
    ...overrides,
  });
  const http1 = createHttp1(handler).listen(0, "127.0.0.1");
  const http2 = createHttp2(handler).listen(0, "127.0.0.1");
  await Promise.all([once(http1, "listening"), once(http2, "listening")]);
  const sessions = new Set<{ destroy(): void }>();
  http2.on("session", (session) => sessions.add(session));
  const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;

  return {
    called,
    thrown,
    port: portOf(http1),
    http2Port: portOf(http2),
    /** Sends a request; a body that is not a string is sent as JSON. */
    async send(
      method: string,
      path: string,
      body?: JsonValue | string,
      headers: Record<string, string> = {},
    ) {
      const response = await fetch(`http://127.0.0.1:${portOf(http1)}${path}`, {
        method,
        headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
        body: body === undefined || typeof body === "string" ? (body ?? null) : JSON.stringify(body),
      });
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        json: text === "" ? undefined : JSON.parse(text),
      };
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      http1.closeAllConnections();
      await Promise.all([http1, http2].map((server) => new Promise((done) => server.close(done))));
    },
  };
}
