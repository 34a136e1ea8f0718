import {
  createRegistry,
  toBinary,
  type DescFile,
  type DescService,
  type Registry,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  ServerReflection,
  ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from "#gen/grpc/reflection/v1/reflection_pb.js";
import type { ServerReflection as ServerReflectionV1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";

const notFound = 5;
const unimplemented = 12;

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

/** What tools such as `buf curl` and `grpcurl` ask to learn the contracts. v1 and v1alpha have the same messages. */
export function createReflection(services: readonly DescService[]) {
  const files = allFiles(services.map((service) => service.file));
  const registry = createRegistry(...files.values());
  const answer = (request: Pick<ServerReflectionRequest, "messageRequest">): Answer => {
    const { messageRequest: asked } = request;
    switch (asked.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: services.map(({ typeName }) => ({ name: typeName })) },
        };
      case "fileByFilename":
        return fileAnswer(files.get(asked.value));
      case "fileContainingSymbol":
        return fileAnswer(fileOf(registry, asked.value));
      case "fileContainingExtension":
        return fileAnswer(
          extensionOf(registry, asked.value.containingType, asked.value.extensionNumber)?.file,
        );
      case "allExtensionNumbersOfType":
        return numbersAnswer(registry, asked.value);
      case undefined:
        return { case: "errorResponse", value: { errorCode: unimplemented, errorMessage: "empty request" } };
    }
  };

  async function* reflect<Request extends Pick<ServerReflectionRequest, "host" | "messageRequest">>(
    requests: AsyncIterable<Request>,
  ) {
    for await (const request of requests) {
      yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
    }
  }

  return {
    v1: { serverReflectionInfo: reflect } as ServiceImpl<typeof ServerReflection>,
    v1alpha: { serverReflectionInfo: reflect } as unknown as ServiceImpl<typeof ServerReflectionV1Alpha>,
  };
}

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

/** The file that defines a type, service, method or field of that full name. */
function fileOf(registry: Registry, symbol: string): DescFile | undefined {
  const parent = symbol.slice(0, Math.max(0, symbol.lastIndexOf(".")));
  return (registry.get(symbol) ?? (parent === "" ? undefined : registry.get(parent)))?.file;
}

function extensionOf(registry: Registry, typeName: string, number: number) {
  const extended = registry.getMessage(typeName);
  return extended && registry.getExtensionFor(extended, number);
}

function fileAnswer(file: DescFile | undefined): Answer {
  if (file === undefined) {
    return { case: "errorResponse", value: { errorCode: notFound, errorMessage: "no such file or symbol" } };
  }
  // With all imports, so that one question is enough; clients that know some already skip them.
  const closure = [...allFiles([file]).values()].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto: closure } };
}

function numbersAnswer(registry: Registry, typeName: string): Answer {
  if (registry.getMessage(typeName) === undefined) return fileAnswer(undefined);
  const numbers = [...registry]
    .filter((desc) => desc.kind === "extension" && desc.extendee.typeName === typeName)
    .map((desc) => (desc.kind === "extension" ? desc.number : 0));
  return { case: "allExtensionNumbersResponse", value: { baseTypeName: typeName, extensionNumber: numbers } };
}
