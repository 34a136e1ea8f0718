import { createFileRegistry, create, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
  file_google_protobuf_any,
  file_google_protobuf_descriptor,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";
import { ImportRefused } from "#src/operations/import/errors.ts";
import type { Problems } from "../problems.ts";

/** Those that compilers bring along, which sets are often made without. */
const wellKnown: readonly FileDescriptorProto[] = [
  file_google_protobuf_any,
  file_google_protobuf_descriptor,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
].map(({ proto }) => proto);

/** Reads a FileDescriptorSet. Throws ImportRefused for bytes that are none. */
export function readDescriptorSet(bytes: Uint8Array): FileDescriptorSet {
  try {
    return fromBinary(FileDescriptorSetSchema, bytes);
  } catch {
    throw new ImportRefused(
      "the bytes are no FileDescriptorSet; make one with `buf build -o descriptors.binpb`, " +
        "or with `protoc --include_imports --descriptor_set_out=descriptors.binpb`",
    );
  }
}

/** The declarations in the files, whatever their order. Throws ImportRefused for files that do not fit each other. */
export function declarationsIn({ file: files }: FileDescriptorSet, problems: Problems): FileRegistry {
  const ordered = inOrder(files, problems);
  try {
    return createFileRegistry(create(FileDescriptorSetSchema, { file: ordered }));
  } catch (error) {
    const why = error instanceof Error ? error.message.slice(0, 300) : "";
    throw new ImportRefused(`the descriptors do not fit each other (${why}); make the set with all imports`);
  }
}

interface Step {
  readonly file: FileDescriptorProto;
  readonly next: Iterator<string, undefined>;
}

/** Each file behind those that it imports. What is not there, or in a circle, is taken out of the imports. */
function inOrder(files: readonly FileDescriptorProto[], problems: Problems): FileDescriptorProto[] {
  const byName = new Map([...wellKnown, ...files].map((file) => [file.name, file]));
  const pointers = new Map(files.map(({ name }, index) => [name, `/file/${index}`]));
  const ordered: FileDescriptorProto[] = [];
  const begun = new Set<string>();
  const done = new Set<string>();
  const begin = (file: FileDescriptorProto): Step => {
    begun.add(file.name);
    return { file, next: file.dependency.values() as Iterator<string, undefined> };
  };
  for (const start of files) {
    // With a stack of its own: a chain of imports may be longer than the stack of calls is deep.
    const path = begun.has(start.name) ? [] : [begin(start)];
    for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
      const name = here.next.next().value;
      if (name === undefined) {
        path.pop();
        done.add(here.file.name);
        ordered.push(withImports(here.file, done));
        continue;
      }
      const wanted = byName.get(name);
      const why =
        wanted === undefined
          ? "is not in the set"
          : begun.has(name) && !done.has(name)
            ? "imports it in turn"
            : undefined;
      if (why !== undefined) {
        problems.add(
          pointers.get(here.file.name) ?? "",
          `imports ${name.slice(0, 200)}, which ${why}, so it is left out`,
        );
      } else if (wanted !== undefined && !begun.has(name)) path.push(begin(wanted));
    }
  }
  return ordered;
}

/** The file, which is changed only if it imports what is not there. */
function withImports(file: FileDescriptorProto, there: ReadonlySet<string>): FileDescriptorProto {
  const dependency = file.dependency.filter((name) => there.has(name));
  if (dependency.length < file.dependency.length) {
    // The others are given by their place among all.
    Object.assign(file, { dependency, publicDependency: [], weakDependency: [] });
  }
  return file;
}
