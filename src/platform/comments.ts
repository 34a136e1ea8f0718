import type {
  DescEnum,
  DescEnumValue,
  DescField,
  DescFile,
  DescMessage,
  DescMethod,
  DescService,
} from "@bufbuild/protobuf";

type Commented = DescService | DescMethod | DescMessage | DescField | DescEnum | DescEnumValue;

/** The comment above a declaration; empty if its file was compiled without source info. */
export function commentOf(declaration: Commented): string {
  const { file } = "file" in declaration ? declaration : declaration.parent;
  return commentsIn(file).get(pathOf(declaration).join()) ?? "";
}

const known = new WeakMap<DescFile, ReadonlyMap<string, string>>();

/** By their paths: a file may have tens of thousands, each of which is asked for. */
function commentsIn(file: DescFile): ReadonlyMap<string, string> {
  const before = known.get(file);
  if (before !== undefined) return before;
  const locations = file.proto.sourceCodeInfo?.location ?? [];
  const found = new Map(
    locations.map(({ path, leadingComments }) => [
      path.join(),
      leadingComments.replaceAll(/^ /gm, "").trim(),
    ]),
  );
  known.set(file, found);
  return found;
}

/** Where source info has it: the field numbers and indices on the way to it in FileDescriptorProto. */
function pathOf(declaration: Commented): number[] {
  switch (declaration.kind) {
    case "service":
      return [6, declaration.file.proto.service.indexOf(declaration.proto)];
    case "rpc":
      return [...pathOf(declaration.parent), 2, declaration.parent.proto.method.indexOf(declaration.proto)];
    case "field":
      return [...pathOf(declaration.parent), 2, declaration.parent.proto.field.indexOf(declaration.proto)];
    case "enum_value":
      return [...pathOf(declaration.parent), 2, declaration.parent.proto.value.indexOf(declaration.proto)];
    case "enum":
      return declaration.parent
        ? [...pathOf(declaration.parent), 4, declaration.parent.proto.enumType.indexOf(declaration.proto)]
        : [5, declaration.file.proto.enumType.indexOf(declaration.proto)];
    case "message":
      return declaration.parent
        ? [...pathOf(declaration.parent), 3, declaration.parent.proto.nestedType.indexOf(declaration.proto)]
        : [4, declaration.file.proto.messageType.indexOf(declaration.proto)];
  }
}
