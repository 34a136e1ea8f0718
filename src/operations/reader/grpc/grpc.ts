import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { commentOf } from "#src/platform/comments.ts";
import { complete } from "../complete.ts";
import { declarationsIn, readDescriptorSet } from "./descriptor-files.ts";
import { ImportRefused } from "#src/operations/import/errors.ts";
import type { Imported } from "#src/operations/import/imported.ts";
import { limits } from "../limits.ts";
import { createMessageSchemas, type MessageSchemas } from "./message-schemas.ts";
import { noNeeds } from "../needs.ts";
import { createProblems, type Problems } from "../problems.ts";
import type { ReadOperation } from "../openapi/read-operation.ts";

/** What servers offer beside their own services. */
const standard = /^grpc\.(?:reflection|health|channelz|binarylog)\./;

/**
 * Reads a FileDescriptorSet: each method with one question and one answer becomes an operation, which is called in JSON
 * as Connect has it. Throws ImportRefused for one without such methods.
 */
export function importGrpc(bytes: Uint8Array): Imported {
  const set = readDescriptorSet(bytes);
  const problems = createProblems();
  const registry = declarationsIn(set, problems);
  const schemas = createMessageSchemas();
  const own = set.file.flatMap(({ name, service, package: inside }, file) =>
    service.flatMap((one, index): DeclaredService[] => {
      const desc = registry.getService(inside === "" ? one.name : `${inside}.${one.name}`);
      return desc?.file.proto.name === name ? [{ desc, pointer: `/file/${file}/service/${index}` }] : [];
    }),
  );
  const read = own.flatMap((service) => operationsOf(service, schemas, problems));
  if (read.length === 0) {
    throw new ImportRefused("the descriptors have no service of your own with a method that is no stream");
  }
  if (read.length > limits.operations) {
    throw new ImportRefused(`the descriptors have more than ${limits.operations} methods`);
  }
  const sorted = read.toSorted((a, b) => (a.operation.path < b.operation.path ? -1 : 1));
  const { operations, definitions } = complete(sorted, schemas.settle(), problems);
  const names = own.map(({ desc }) => desc).filter(({ typeName }) => !standard.test(typeName));
  const name = titleOf(names).slice(0, 200);
  return {
    format: "grpc",
    title: name,
    documentVersion: /(?:^|\.)(v\d\w*)$/.exec(names[0]?.file.proto.package ?? "")?.[1],
    table: "3.1",
    definition: { name, authMethods: [] },
    operations,
    definitions,
    problems: problems.list,
  };
}

interface DeclaredService {
  readonly desc: DescService;
  readonly pointer: string;
}

function operationsOf(
  { desc, pointer }: DeclaredService,
  schemas: MessageSchemas,
  problems: Problems,
): ReadOperation[] {
  if (standard.test(desc.typeName)) {
    problems.add(pointer, `${desc.typeName} is a service of gRPC itself, so it is omitted`);
    return [];
  }
  return desc.methods.flatMap((method, index) => {
    const place = `${pointer}/method/${index}`;
    if (method.methodKind === "unary") return [operationOf(method, place, schemas)];
    problems.add(
      place,
      `${desc.typeName}/${method.name} is a stream, which no single call can make, so it is omitted`,
    );
    return [];
  });
}

function operationOf(method: DescMethod, pointer: string, schemas: MessageSchemas): ReadOperation {
  const [ofQuestion, ofAnswer] = [noNeeds(), noNeeds()];
  const description = commentOf(method).slice(0, 4_000);
  return {
    operation: {
      method: "POST",
      path: `/${method.parent.typeName}/${method.name}`,
      name: method.name,
      operationId: `${method.parent.typeName}.${method.name}`,
      description: description === "" ? undefined : description,
      deprecated: method.deprecated || method.parent.deprecated,
      scopes: [],
      parameters: [],
      outputSchema: schemas.read(method.output, "answer", ofAnswer),
    },
    body: {
      contentType: "application/json",
      // A message without fields is `{}`, and no body is no message.
      required: true,
      schema: schemas.read(method.input, "question", ofQuestion),
      encoding: undefined,
      needs: ofQuestion,
    },
    pointer,
    needs: { parameters: [], output: ofAnswer },
  };
}

/** The service's name if there is only one, or else the package of the first. */
function titleOf(services: readonly DescService[]): string {
  const [first] = services;
  if (first === undefined) return "Untitled service";
  return services.length === 1 || first.file.proto.package === "" ? first.name : first.file.proto.package;
}
