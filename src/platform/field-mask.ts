import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { InvalidRequest } from "./errors.ts";

/**
 * Which fields an update changes: those that the mask names, else those that are set.
 *
 * A field that is named and not set is cleared: a message has no other way to say so.
 */
export function changedFields<Name extends string>(
  mask: FieldMask | undefined,
  isSet: Readonly<Record<Name, boolean>>,
  refuse: (field: string) => Error,
): ReadonlySet<Name> {
  const names = Object.keys(isSet) as Name[];
  const masked = mask !== undefined && mask.paths.length > 0 ? mask.paths : undefined;
  const changed = masked ?? names.filter((name) => isSet[name]);
  if (changed.length === 0) {
    throw new InvalidRequest(`nothing to change; give one of ${names.map(jsonName).join(", ")}`);
  }
  const unknown = changed.find((path) => !(names as string[]).includes(path));
  if (unknown !== undefined) throw refuse(jsonName(unknown.slice(0, 64)));
  return new Set(changed as Name[]);
}

/** A field's name as it stands in JSON, where people read it. */
export function jsonName(field: string): string {
  return field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
