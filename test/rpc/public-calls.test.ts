import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, createContextValues, type Client } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection, type ServerReflectionRequest } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { reasonOf } from "#src/client/node.ts";
import { callKey } from "#src/platform/caller.ts";
import { createReflection } from "#src/rpc/reflection.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
/** Which client the service takes the next calls to come from. */
let address = "203.0.113.1";
beforeAll(async () => {
  service = await startService({ trustedProxyHops: 1 });
});
afterAll(() => service[Symbol.asyncDispose]());

function transport() {
  return createGrpcTransport({
    baseUrl: service.url,
    interceptors: [
      (next) => (request) => {
        request.header.set("x-forwarded-for", address);
        return next(request);
      },
    ],
  });
}

const files = { messageRequest: { case: "fileContainingSymbol", value: ApiKeyService.typeName } } as const;

async function failureOf(work: Promise<unknown>): Promise<ConnectError> {
  return work.then(
    () => expect.unreachable("it should have failed"),
    (thrown: unknown) => ConnectError.from(thrown),
  );
}

/** Asks so many questions on one stream, and answers how many were answered. */
async function ask(client: Client<typeof ServerReflection>, questions: number): Promise<number> {
  let answered = 0;
  async function* requests() {
    for (let i = 0; i < questions; i++) yield files;
  }
  for await (const { messageResponse } of client.serverReflectionInfo(requests())) {
    expect(messageResponse.case).toBe("fileDescriptorResponse");
    answered += 1;
  }
  return answered;
}

function get(path: string) {
  return fetch(service.url + path, { headers: { "x-forwarded-for": address } });
}

describe("what may be asked without a key", () => {
  test("is limited for each client address, with each question on a stream of reflection", async () => {
    address = "203.0.113.2";
    const client = createClient(ServerReflection, transport());
    // The stream is a call as well.
    expect(await ask(client, 500)).toBe(500);
    const refused = await failureOf(ask(client, 200));
    expect([refused.code, refused.rawMessage, reasonOf(refused)]).toEqual([
      Code.ResourceExhausted,
      "rate limit exceeded",
      "RATE_LIMITED",
    ]);
    expect(refused.metadata.get("retry-after")).toMatch(/^[1-9]\d*$/);
    const alpha = createClient(ServerReflectionV1Alpha, transport());
    for (const again of [ask(client, 1), ask(alpha as never, 1)]) {
      expect(reasonOf(await failureOf(again))).toBe("RATE_LIMITED");
    }
    const page = await get("/openapi.json");
    expect([page.status, page.headers.get("x-error-reason"), await page.json()]).toEqual([
      429,
      "RATE_LIMITED",
      { error: "rate limit exceeded" },
    ]);
    expect(page.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);

    address = "203.0.113.3";
    expect(await ask(client, 1)).toBe(1);
    expect((await get("/openapi.json")).status).toBe(200);
    address = "203.0.113.2";
    service.clock.advance(60_000);
    expect(await ask(client, 1)).toBe(1);
  });

  test("is never refused to a load balancer that asks for health", async () => {
    address = "203.0.113.4";
    const health = createClient(Health, transport());
    for (let i = 0; i < 8; i++) {
      const asked = Array.from({ length: 100 }, () => [health.check({}), get("/healthz"), get("/readyz")]);
      for (const answer of await Promise.all(asked.flat())) {
        expect("status" in answer && (answer.status === 200 || answer.status === 1)).toBe(true);
      }
    }
  });

  test("is a short question", async () => {
    address = "203.0.113.5";
    const long = "a".repeat(16 * 1024);
    for (const made of [
      transport(),
      createGrpcWebTransport({ baseUrl: service.url, httpVersion: "2" }),
      createConnectTransport({ baseUrl: service.url, httpVersion: "2" }),
    ]) {
      const refused = await failureOf(createClient(Health, made).check({ service: long }));
      expect([refused.code, refused.rawMessage, reasonOf(refused)]).toEqual([
        Code.ResourceExhausted,
        "the message is larger than 16 KiB",
        "MESSAGE_TOO_LARGE",
      ]);
    }
  });
});

describe("streams without a key", () => {
  /** A stream that is open when the promise is fulfilled. */
  async function watch() {
    const ended = new AbortController();
    const messages = createClient(Health, transport()).watch({}, { signal: ended.signal });
    const watching = messages[Symbol.asyncIterator]();
    await watching.next();
    return {
      async close() {
        ended.abort();
        await watching.next().catch(() => {});
      },
    };
  }

  test("are bounded for each client address, until one is closed", async () => {
    address = "203.0.113.6";
    const open = await Promise.all(Array.from({ length: 64 }, watch));
    for (const refusing of [watch(), ask(createClient(ServerReflection, transport()), 1)]) {
      const refused = await failureOf(refusing);
      expect([refused.code, refused.rawMessage, reasonOf(refused)]).toEqual([
        Code.ResourceExhausted,
        "your address has 64 streams open without a key, which is the most: close streams that are no longer read",
        "TOO_MANY_STREAMS",
      ]);
    }
    // Those that carry a key have bounds of their own, and single calls are no streams.
    const tenant = createClient(VerificationService, transport());
    const headers = { authorization: `Bearer ${service.org.secret}` };
    const watching = tenant.watchRevocations({}, { headers })[Symbol.asyncIterator]();
    expect((await watching.next()).done).toBe(false);
    await watching.return?.();
    await createClient(Health, transport()).check({});

    address = "203.0.113.7";
    open.push(await watch());
    address = "203.0.113.6";
    await open.shift()?.close();
    let again: Awaited<ReturnType<typeof watch>> | undefined;
    while (again === undefined) {
      // The service hears of it in its own time.
      await turn();
      again = await watch().catch(() => undefined);
    }
    expect(reasonOf(await failureOf(watch()))).toBe("TOO_MANY_STREAMS");
    await Promise.all([...open, again].map((stream) => stream.close()));
  });

  test("leave nothing behind, however many come and go", async () => {
    address = "203.0.113.8";
    for (let i = 0; i < 10; i++) {
      const open = await Promise.all(Array.from({ length: 30 }, watch));
      await Promise.all(open.map((stream) => stream.close()));
      expect(await ask(createClient(ServerReflection, transport()), 3)).toBe(3);
    }
  });
});

describe("reflection", () => {
  const reflection = createReflection([ApiKeyService, Health], {
    spend: async () => {},
    openStream: () => {},
  });

  /** What its handler answers, before it is encoded. */
  async function answerTo(question: Partial<ServerReflectionRequest>) {
    async function* requests() {
      yield { host: "", ...question } as ServerReflectionRequest;
    }
    const values = createContextValues().set(callKey, { requestId: "", authorizationLines: 0 });
    const answers = reflection.v1.serverReflectionInfo(requests(), { values } as never);
    for await (const { messageResponse } of answers) return messageResponse;
  }

  test("answers with bytes that were encoded before anybody asked", async () => {
    const first = await answerTo({ messageRequest: files.messageRequest });
    const second = await answerTo({
      messageRequest: { case: "fileByFilename", value: ApiKeyService.file.proto.name },
    });
    if (first?.case !== "fileDescriptorResponse" || second?.case !== "fileDescriptorResponse") {
      return expect.unreachable();
    }
    const encoded = first.value.fileDescriptorProto!;
    expect(encoded.length).toBeGreaterThan(5);
    for (const [index, bytes] of encoded.entries())
      expect(second.value.fileDescriptorProto![index]).toBe(bytes);
    const [own] = encoded.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    expect(own).toEqual(ApiKeyService.file.proto);
  });

  test.each<[string, ServerReflectionRequest["messageRequest"]]>([
    ["no such file", { case: "fileByFilename", value: "a.proto" }],
    ["no such symbol", { case: "fileContainingSymbol", value: "a.B" }],
    ["the name of a thing of JavaScript", { case: "fileContainingSymbol", value: "__proto__" }],
    ["no such type", { case: "allExtensionNumbersOfType", value: "a.B" }],
    [
      "no such extension",
      {
        case: "fileContainingExtension",
        value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 1 } as never,
      },
    ],
  ])("says of %s that there is none", async (_, messageRequest) => {
    expect(await answerTo({ messageRequest })).toMatchObject({
      case: "errorResponse",
      value: { errorCode: 5 },
    });
  });

  test("knows the extensions of a type, and the file of each", async () => {
    const typeName = "google.protobuf.MethodOptions";
    const numbers = await answerTo({
      messageRequest: { case: "allExtensionNumbersOfType", value: typeName },
    });
    if (numbers?.case !== "allExtensionNumbersResponse") return expect.unreachable();
    expect(numbers.value.extensionNumber!.length).toBeGreaterThan(1);
    for (const extensionNumber of numbers.value.extensionNumber!) {
      const value = { containingType: typeName, extensionNumber } as never;
      expect(await answerTo({ messageRequest: { case: "fileContainingExtension", value } })).toMatchObject({
        case: "fileDescriptorResponse",
      });
    }
  });
});
