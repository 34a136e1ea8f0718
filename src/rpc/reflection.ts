import {
  createRegistry,
  toBinary,
  type DescFile,
  type DescService,
  type Registry,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  ExtensionRequest,
  ServerReflection,
  ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from "#gen/grpc/reflection/v1/reflection_pb.js";
import type { ServerReflection as ServerReflectionV1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";

import type { PublicCalls } from "#src/pipeline/public-calls.ts";
import { callOf } from "#src/platform/caller.ts";

const notFound = 5;
const unimplemented = 12;

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;
type Asked = Pick<ServerReflectionRequest, "host" | "messageRequest">;

/**
 * What tools such as `buf curl` and `grpcurl` ask to learn the contracts. v1 and v1alpha have the same messages. The
 * caller has no key, so an answer is put together from what was encoded at the start, and each question counts as a call.
 */
export function createReflection(services: readonly DescService[], publicCalls: PublicCalls) {
  const answer = createAnswers(services);

  async function* reflect<Request extends Asked>(requests: AsyncIterable<Request>, context: HandlerContext) {
    for await (const request of requests) {
      await publicCalls.spend(callOf(context).remoteAddress);
      yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
    }
  }

  return {
    v1: { serverReflectionInfo: reflect } as ServiceImpl<typeof ServerReflection>,
    v1alpha: { serverReflectionInfo: reflect } as unknown as ServiceImpl<typeof ServerReflectionV1Alpha>,
  };
}

function createAnswers(services: readonly DescService[]): (asked: Asked) => Answer {
  const files = allFiles(services.map((service) => service.file));
  const registry = createRegistry(...files.values());
  const ofFile = fileAnswers(files);
  const ofNumbers = numbersAnswers(registry);
  const ofServices: Answer = {
    case: "listServicesResponse",
    value: { service: services.map(({ typeName }) => ({ name: typeName })) },
  };

  return ({ messageRequest: asked }) => {
    switch (asked.case) {
      case "listServices":
        return ofServices;
      case "fileByFilename":
        return ofFile.get(asked.value) ?? nothing;
      case "fileContainingSymbol":
        return ofFile.get(fileOf(registry, asked.value) ?? "") ?? nothing;
      case "fileContainingExtension":
        return ofFile.get(fileOfExtension(registry, asked.value) ?? "") ?? nothing;
      case "allExtensionNumbersOfType":
        return ofNumbers.get(asked.value) ?? nothing;
      case undefined:
        return { case: "errorResponse", value: { errorCode: unimplemented, errorMessage: "empty request" } };
    }
  };
}

const nothing: Answer = {
  case: "errorResponse",
  value: { errorCode: notFound, errorMessage: "no such file or symbol" },
};

/** The files and all that they import, by name. */
function allFiles(roots: readonly DescFile[]): Map<string, DescFile> {
  const found = new Map<string, DescFile>();
  const add = (file: DescFile) => {
    const name = file.proto.name;
    if (found.has(name)) return;
    found.set(name, file);
    file.dependencies.forEach(add);
  };
  roots.forEach(add);
  return found;
}

/** The name of the file that defines a type, service, method or field of that full name. */
function fileOf(registry: Registry, symbol: string): string | undefined {
  const parent = symbol.slice(0, Math.max(0, symbol.lastIndexOf(".")));
  return (registry.get(symbol) ?? (parent === "" ? undefined : registry.get(parent)))?.file.proto.name;
}

function fileOfExtension(
  registry: Registry,
  { containingType, extensionNumber }: ExtensionRequest,
): string | undefined {
  const extended = registry.getMessage(containingType);
  return extended && registry.getExtensionFor(extended, extensionNumber)?.file.proto.name;
}

/** Of each file, by name. With all imports, so that one question is enough; clients that know some already skip them. */
function fileAnswers(files: ReadonlyMap<string, DescFile>): ReadonlyMap<string, Answer> {
  const encoded = new Map(
    [...files].map(([name, { proto }]) => [name, toBinary(FileDescriptorProtoSchema, proto)]),
  );
  const closureOf = (file: DescFile) => [...allFiles([file]).keys()].map((name) => encoded.get(name) ?? none);
  return new Map(
    [...files].map(([name, file]) => [
      name,
      { case: "fileDescriptorResponse", value: { fileDescriptorProto: closureOf(file) } },
    ]),
  );
}

const none = new Uint8Array();

/** Of each message, by its full name: the numbers of its extensions. */
function numbersAnswers(registry: Registry): ReadonlyMap<string, Answer> {
  const types = [...registry];
  const numbersOf = (typeName: string) =>
    types.flatMap((desc) =>
      desc.kind === "extension" && desc.extendee.typeName === typeName ? [desc.number] : [],
    );
  return new Map(
    types
      .filter(({ kind }) => kind === "message")
      .map(({ typeName }) => [
        typeName,
        {
          case: "allExtensionNumbersResponse",
          value: { baseTypeName: typeName, extensionNumber: numbersOf(typeName) },
        },
      ]),
  );
}
