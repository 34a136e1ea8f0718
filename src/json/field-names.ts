import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { nearest } from "./nearest.ts";

/** The field with this name, in either spelling. */
export function fieldNamed(message: DescMessage, name: string): DescField | undefined {
  return message.fields.find((field) => field.jsonName === name || field.name === name);
}

/** A name that no field of the message has, cut to a length to repeat, and the name that was probably meant. */
export function unknown(message: DescMessage, name: string, prefix = ""): string {
  const names = message.fields.map((field) => field.jsonName);
  const meant = nearest(name, names);
  const shown = `"${prefix}${name.slice(0, 64).toWellFormed()}"`;
  return meant === undefined ? shown : `${shown}; did you mean "${prefix}${meant}"?`;
}
