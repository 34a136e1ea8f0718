import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { services } from "#src/client/services.ts";

/** A FileDescriptorSet of this service's own methods, with all that their files import. */
export function ownDescriptors(): Uint8Array {
  const files = new Set(Object.values(services).map(({ file }) => file));
  for (const file of files) for (const dependency of file.dependencies) files.add(dependency);
  const file = [...files].map(({ proto }) => proto);
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
}
