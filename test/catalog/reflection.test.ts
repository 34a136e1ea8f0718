import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Server, ServerCredentials, status as Status, type ServerDuplexStream } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
  type ServerReflectionRequest,
} from "#gen/grpc/reflection/v1/reflection_pb.js";
import { descriptorsOf } from "#src/catalog/reflection.ts";
import { services } from "#src/client/services.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound, type Outbound } from "#src/outbound/outbound.ts";
import { startService } from "../support/service.ts";

let outbound: Outbound;
beforeAll(() => {
  outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1") });
});
afterAll(() => outbound.close());

async function filesAt(port: number | string) {
  const baseUrl = `http://127.0.0.1:${port}`;
  const nothing = { headers: {}, query: {}, cookies: {}, body: {}, secrets: [] };
  const bytes = await descriptorsOf((path) =>
    outbound.openDialogue({
      share: "acme",
      baseUrl,
      path,
      credential: { boundTo: baseUrl, reveal: () => nothing },
      maxAnswerBytes: 1 << 20,
      hold: () => {},
      signal: new AbortController().signal,
    }),
  );
  return fromBinary(FileDescriptorSetSchema, bytes);
}

type Answer = (asked: ServerReflectionRequest["messageRequest"]) => object | number;

/** A server of grpc-js whose reflection, of one version or both, answers so; a number is a status. */
async function startReflecting(answer: Answer, versions = ["v1", "v1alpha"]) {
  const server = new Server();
  for (const version of versions) {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const info = {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: () => Buffer.of(),
      requestDeserialize: (bytes: Buffer) => fromBinary(ServerReflectionRequestSchema, bytes),
      responseSerialize: (message: object) =>
        message instanceof Uint8Array
          ? Buffer.from(message)
          : Buffer.from(
              toBinary(ServerReflectionResponseSchema, create(ServerReflectionResponseSchema, message)),
            ),
      responseDeserialize: () => ({}),
    };
    const serve = (call: ServerDuplexStream<ServerReflectionRequest, object>) => {
      call.on("data", ({ messageRequest }: ServerReflectionRequest) => {
        const given = answer(messageRequest);
        if (typeof given === "number") call.emit("error", { code: given, details: "no" });
        else call.write(given);
      });
      call.on("end", () => call.end());
    };
    server.addService({ info }, { info: serve });
  }
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { port, [Symbol.dispose]: () => server.forceShutdown() };
}

const listed = (...names: string[]) => ({
  messageResponse: { case: "listServicesResponse", value: { service: names.map((name) => ({ name })) } },
});
const files = (...protos: object[]) => {
  const fileDescriptorProto = protos.map((proto) =>
    toBinary(FileDescriptorProtoSchema, create(FileDescriptorProtoSchema, proto)),
  );
  return { messageResponse: { case: "fileDescriptorResponse", value: { fileDescriptorProto } } };
};
const unknown = { messageResponse: { case: "errorResponse", value: { errorCode: 5, errorMessage: "no" } } };

describe("what a server of gRPC says that it serves", () => {
  test("is all that it serves, such as what this one does", async () => {
    await using service = await startService();
    const set = await filesAt(new URL(service.url).port);
    const served = set.file.flatMap((file) => file.service.map(({ name }) => `${file.package}.${name}`));
    expect(served).toEqual(expect.arrayContaining(Object.values(services).map(({ typeName }) => typeName)));
    const names = set.file.map(({ name }) => name);
    const imported = set.file.flatMap(({ dependency }) => dependency);
    expect(names).toEqual(expect.arrayContaining(imported));
  });

  test.each([[["v1"]], [["v1alpha"]]])("is asked of servers that know %s", async (versions) => {
    const asked: unknown[] = [];
    using server = await startReflecting((question) => {
      asked.push([question.case, question.value]);
      if (question.case === "listServices") return listed("a.S");
      if (question.case === "fileContainingSymbol")
        return files({ name: "a.proto", dependency: ["b.proto", "c.proto"] });
      return question.value === "b.proto" ? files({ name: "b.proto", dependency: ["a.proto"] }) : unknown;
    }, versions);
    const { file } = await filesAt(server.port);
    expect(file.map(({ name }) => name)).toEqual(["a.proto", "b.proto"]);
    expect(asked).toEqual([
      ["listServices", "*"],
      ["fileContainingSymbol", "a.S"],
      ["fileByFilename", "b.proto"],
      ["fileByFilename", "c.proto"],
    ]);
  });
});

describe("refused is a server", () => {
  let asked = 0;
  const bomb = Buffer.concat([Buffer.from([0x32, 0x80, 0xb5, 0x18]), Buffer.alloc(400_000, "\x0a\x00")]);
  test.each<[what: string, answer: Answer, refusal: RegExp]>([
    ["that does not know reflection", () => Status.UNIMPLEMENTED, /does not answer gRPC reflection/],
    [
      "that wants another credential",
      () => Status.UNAUTHENTICATED,
      /status 16; check the connection's credential/,
    ],
    ["that answers something else", () => Buffer.from("hello"), /with something else/],
    ["that answers too many fields", () => bomb, /with something else/],
    [
      "whose files import each other without end",
      (question) =>
        question.case === "listServices"
          ? listed("a.S")
          : files({ name: `${asked}.proto`, dependency: [`${++asked}.proto`] }),
      /more than 5000 services and files; give a descriptor set/,
    ],
  ])("%s", async (_, answer, refusal) => {
    using server = await startReflecting(answer);
    await expect(filesAt(server.port)).rejects.toThrow(refusal);
  });
});
