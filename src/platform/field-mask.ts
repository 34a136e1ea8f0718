import type { FieldMask } from "@bufbuild/protobuf/wkt";

/**
 * Which fields an update changes: those that the mask names, else those that are set.
 *
 * Naming a field without setting it clears it, which is the only way to say so in a message.
 */
export function changedFields<Name extends string>(
  mask: FieldMask | undefined,
  isSet: Readonly<Record<Name, boolean>>,
  refuse: (field: string) => Error,
): ReadonlySet<Name> {
  const names = Object.keys(isSet) as Name[];
  if (mask === undefined) return new Set(names.filter((name) => isSet[name]));
  for (const path of mask.paths) {
    if (!(names as string[]).includes(path)) throw refuse(path);
  }
  return new Set(mask.paths as Name[]);
}
