import { create, getOption, hasOption, toBinary, type DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { http } from "#gen/google/api/annotations_pb.js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { policy } from "#gen/patchbay/options/v1/options_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { reasonOf } from "#src/client/node.ts";
import { services } from "#src/client/services.ts";
import { faultsOf } from "#src/pipeline/policy.ts";
import { startService, type TestService } from "../support/service.ts";

const methods = Object.values(services).flatMap((service): readonly DescMethod[] => service.methods);
const named = methods.map((method) => [method.name, method] as const);
/** REST has no streams. */
const unary = named.filter(([, { methodKind }]) => methodKind === "unary");

let service: TestService;
/** Keys that hold each of our scopes but one, by the one. */
const without = new Map<string, string>();

beforeAll(async () => {
  service = await startService();
  const { scopes } = await service.org.client.apiKeys.whoAmI({});
  for (const missing of scopes) {
    const others = scopes.filter((scope) => scope !== missing);
    const { secret } = await service.org.client.apiKeys.createApiKey({
      name: `all but ${missing}`,
      scopes: others,
    });
    without.set(missing, secret);
  }
});
afterAll(() => service[Symbol.asyncDispose]());

const transports: [string, (secret: string | undefined) => Transport][] = [
  ["gRPC", (secret) => createGrpcTransport({ baseUrl: service.url, interceptors: presenting(secret) })],
  [
    "gRPC-Web",
    (secret) =>
      createGrpcWebTransport({ baseUrl: service.url, httpVersion: "1.1", interceptors: presenting(secret) }),
  ],
  [
    "Connect",
    (secret) =>
      createConnectTransport({ baseUrl: service.url, httpVersion: "1.1", interceptors: presenting(secret) }),
  ],
  [
    "Connect JSON",
    (secret) =>
      createConnectTransport({
        baseUrl: service.url,
        httpVersion: "2",
        useBinaryFormat: false,
        interceptors: presenting(secret),
      }),
  ],
];

function presenting(secret: string | undefined): Interceptor[] {
  return [
    (next) => (request) => {
      if (secret !== undefined) request.header.set("authorization", `Bearer ${secret}`);
      return next(request);
    },
  ];
}

async function failureOf(method: DescMethod, transport: Transport): Promise<ConnectError> {
  const client = createClient(method.parent, transport) as unknown as Record<
    string,
    (request: object) => Promise<unknown> & AsyncIterable<unknown>
  >;
  try {
    const answer = client[method.localName]!({});
    if (method.methodKind === "unary") await answer;
    else for await (const _message of answer) break;
  } catch (error) {
    if (error instanceof ConnectError) return error;
  }
  throw new Error(`${method.name} did not fail`);
}

/** The method's own REST path, its variables filled with something. */
function restOf(method: DescMethod): { verb: string; path: string } {
  const { pattern } = getOption(method, http);
  if (typeof pattern.value !== "string") throw new Error(`${method.name} has no REST path`);
  return { verb: pattern.case.toUpperCase(), path: pattern.value.replace(/\{[^}]+\}/g, "x") };
}

async function restReply(method: DescMethod, authorization: string | undefined) {
  const { verb, path } = restOf(method);
  const response = await fetch(service.url + path, {
    method: verb,
    headers: { ...(authorization !== undefined && { authorization }) },
  });
  return { status: response.status, body: await response.text(), headers: response.headers };
}

describe("every method", () => {
  test.each(named)("%s declares who may call it and what it records", (_, method) => {
    expect(faultsOf(method)).toStrictEqual([]);
  });

  test.each(unary)("%s has a REST path", (_, method) => {
    expect(hasOption(method, http)).toBe(true);
  });

  test.each(unary)(
    "%s refuses over REST whoever has no good key, always with the same bytes",
    async (_, method) => {
      const unknown = newApiKeySecret("sandbox");
      const wrong = [undefined, "", "Bearer", "Basic YTpi", `Bearer ${unknown}`, `Bearer ${unknown.toLowerCase()}`, `Bearer x${"y".repeat(600)}`]; // prettier-ignore
      for (const authorization of wrong) {
        const reply = await restReply(method, authorization);
        expect([reply.status, reply.body]).toStrictEqual([401, '{"error":"missing or invalid Bearer"}']);
        expect(reply.headers.get("www-authenticate")).toBe("Bearer");
      }
    },
  );

  test.each(unary)("%s refuses a live key in the sandbox over REST", async (_, method) => {
    const reply = await restReply(method, `Bearer ${newApiKeySecret("live")}`);
    expect([reply.status, reply.body]).toStrictEqual([403, '{"error":"key is live; endpoint is sandbox"}']);
  });

  test.each(named)("%s refuses a live key in the sandbox over every other protocol", async (_, method) => {
    const live = newApiKeySecret("live");
    for (const [, transport] of transports) {
      const error = await failureOf(method, transport(live));
      expect([error.code, error.rawMessage]).toStrictEqual([
        Code.PermissionDenied,
        "key is live; endpoint is sandbox",
      ]);
    }
  });

  test.each(transports)("refuses over %s whoever has no good key", async (_, transport) => {
    for (const method of methods) {
      const error = await failureOf(method, transport(undefined));
      expect([error.code, error.rawMessage, reasonOf(error)]).toStrictEqual([
        Code.Unauthenticated,
        "missing or invalid Bearer",
        "INVALID_BEARER",
      ]);
      expect(error.metadata.get("www-authenticate")).toBe("Bearer");
    }
  });

  const scoped = methods.flatMap((method) => {
    const { access } = getOption(method, policy);
    return access.case === "scope" ? [[method.name, access.value, method] as const] : [];
  });

  test.each(scoped)("%s needs %s, and says so on every protocol", async (_, scope, method) => {
    const secret = without.get(scope)!;
    if (method.methodKind === "unary") {
      const reply = await restReply(method, `Bearer ${secret}`);
      expect([reply.status, reply.body]).toStrictEqual([
        403,
        JSON.stringify({ error: `missing scope: ${scope}` }),
      ]);
    }
    for (const [, transport] of transports) {
      const error = await failureOf(method, transport(secret));
      expect([error.code, error.rawMessage, reasonOf(error)]).toStrictEqual([
        Code.PermissionDenied,
        `missing scope: ${scope}`,
        "MISSING_SCOPE",
      ]);
    }
  });

  test.each(unary)("%s refuses a credential in the URL, even beside a good key", async (_, method) => {
    const { verb, path } = restOf(method);
    for (const query of [
      "access_token=x",
      "API-Key=x",
      "X_API_KEY=x",
      "q=Bearer%20x",
      `q=${newApiKeySecret("live")}`,
    ]) {
      const reply = await service.org.rest(verb, `${path}?${query}`);
      expect([reply.status, reply.body]).toStrictEqual([
        400,
        { error: "credentials must not be sent in the URL" },
      ]);
    }
    const rpc = await service.org.rest("POST", `/${method.parent.typeName}/${method.name}?token=x`, {});
    expect([rpc.status, rpc.body.message]).toStrictEqual([400, "credentials must not be sent in the URL"]);
  });

  test.each(unary)(
    "%s refuses an unknown JSON field by its name, over REST and Connect",
    async (_, method) => {
      const { verb, path } = restOf(method);
      const reads = verb === "GET" || verb === "DELETE";
      const rest = await (reads
        ? service.org.rest(verb, `${path}?unheardOf=1`)
        : service.org.rest(verb, path, { unheardOf: 1 }));
      expect([rest.status, rest.body.error]).toStrictEqual([400, expect.stringContaining("unheardOf")]);
      const rpc = await service.org.rest("POST", `/${method.parent.typeName}/${method.name}`, {
        unheardOf: 1,
      });
      expect([rpc.status, rpc.body.code]).toStrictEqual([400, "invalid_argument"]);
      expect(rpc.body.message).toContain("unheardOf");
    },
  );

  test.each(unary)("%s survives bytes that are no message, as the caller's mistake", async (_, method) => {
    const url = `${service.url}/${method.parent.typeName}/${method.name}`;
    const response = await fetch(url, {
      method: "POST",
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/proto" },
      body: Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]),
    });
    expect([response.status, await response.json()]).toMatchObject([400, { code: "invalid_argument" }]);
  });
});

test("a Connect GET whose message holds a key is refused, in either encoding", async () => {
  const secret = newApiKeySecret("sandbox");
  const method = ApiKeyService.method.getApiKey;
  const message = { id: secret };
  const json = encodeURIComponent(JSON.stringify(message));
  const binary = Buffer.from(toBinary(method.input, create(method.input, message))).toString("base64url");
  for (const query of [`encoding=json&message=${json}`, `encoding=proto&base64=1&message=${binary}`]) {
    const reply = await service.org.rest(
      "GET",
      `/${method.parent.typeName}/${method.name}?connect=v1&${query}`,
    );
    expect([reply.status, reply.body.message]).toStrictEqual([
      400,
      "credentials must not be sent in the URL",
    ]);
  }
  expect(service.logged()).not.toContain(secret);
});
