import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { ServerReflectionRequestSchema } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ImportRefused } from "#src/operations/import/errors.ts";
import { GrpcStatus, type Dialogue } from "#src/outbound/dialogue.ts";

/** Where servers answer what they offer; the older name has the same messages. */
const versions = ["v1", "v1alpha"].map(
  (version) => `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
);

const unimplemented = 12;
/** More than any server asks for; each is a round trip. */
const maxQuestions = 5_000;

/** Asks a server for the descriptors of all that it serves: a FileDescriptorSet. */
export async function descriptorsOf(open: (path: string) => Promise<Dialogue>): Promise<Uint8Array> {
  for (const path of versions) {
    try {
      using dialogue = await open(path);
      return await collect(dialogue);
    } catch (error) {
      if (!(error instanceof GrpcStatus)) throw error;
      if (error.code !== unimplemented) throw refused(error);
    }
  }
  throw new ImportRefused(
    "the service does not answer gRPC reflection; switch that on there, or give a descriptor set",
  );
}

function refused({ code }: GrpcStatus): ImportRefused {
  return new ImportRefused(
    `the service refused gRPC reflection with status ${code}; check the connection's credential, or give a descriptor set`,
  );
}

async function collect(dialogue: Dialogue): Promise<Uint8Array> {
  const ask = askOf(dialogue);
  const files = new Map<string, Uint8Array>();
  const missing = new Set<string>();
  const take = (answer: Fields) => {
    for (const file of answer.within(fileResponse).all(fileInResponse)) {
      const fields = answer.of(file);
      const name = textOf(fields.all(fileName).at(0));
      if (!files.has(name)) files.set(name, file);
      for (const dependency of fields.all(fileDependency)) missing.add(textOf(dependency));
    }
  };
  const listed = await ask({ case: "listServices", value: "*" });
  const services = listed.within(serviceList).all(serviceInList);
  for (const service of services) {
    const name = textOf(listed.of(service).all(serviceName).at(0));
    take(await ask({ case: "fileContainingSymbol", value: name }));
  }
  // Some servers answer a file with all that it imports, others by itself. What is missing in the end is listed.
  for (const name of missing) if (!files.has(name)) take(await ask({ case: "fileByFilename", value: name }));
  return setOf([...files.values()]);
}

type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;

function askOf(dialogue: Dialogue): (question: Question) => Promise<Fields> {
  let asked = 0;
  return async (messageRequest) => {
    if (++asked > maxQuestions) {
      throw new ImportRefused(
        `the service has more than ${maxQuestions} services and files; give a descriptor set`,
      );
    }
    const question = create(ServerReflectionRequestSchema, { messageRequest });
    return new Fields(await dialogue.ask(toBinary(ServerReflectionRequestSchema, question)));
  };
}

/** Numbers of fields in ServerReflectionResponse, FileDescriptorResponse, ListServiceResponse and FileDescriptorProto. */
const [fileResponse, serviceList] = [4, 6];
const fileInResponse = 1;
const [serviceInList, serviceName] = [1, 1];
const [fileName, fileDependency] = [1, 3];

/** A server may answer millions of fields; files have some hundred, and what is in them is read in another thread. */
const maxFields = 100_000;

/** What an answer holds, as far as it is looked into: some fields of its messages, by their numbers. */
class Fields {
  readonly #message: Uint8Array;
  readonly #budget: { left: number };

  constructor(message: Uint8Array, budget = { left: maxFields }) {
    this.#message = message;
    this.#budget = budget;
  }

  of(message: Uint8Array): Fields {
    return new Fields(message, this.#budget);
  }

  /** Of the message in that field. */
  within(number: number): Fields {
    return this.of(this.all(number).at(0) ?? new Uint8Array());
  }

  /** The values of a field that holds texts, bytes or messages. */
  all(number: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    try {
      const reader = new BinaryReader(this.#message);
      while (reader.pos < reader.len) {
        if (--this.#budget.left < 0) throw new Error("too many fields");
        const [at, wireType] = reader.tag();
        // Nothing that is looked for is one, and what is in it would not be counted.
        if (wireType === WireType.StartGroup) throw new Error("a group");
        if (at === number && wireType === WireType.LengthDelimited) found.push(reader.bytes());
        else reader.skip(wireType, at);
      }
    } catch {
      throw new ImportRefused(
        "the service answers gRPC reflection with something else; give a descriptor set",
      );
    }
    return found;
  }
}

function textOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}

/** The files as a FileDescriptorSet, which is nothing but a list of them. */
function setOf(files: readonly Uint8Array[]): Uint8Array {
  const prefixed = files.flatMap((file) => [
    new BinaryWriter().tag(1, WireType.LengthDelimited).uint32(file.length).finish(),
    file,
  ]);
  return Buffer.concat(prefixed);
}
