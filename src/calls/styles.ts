import type { JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";

/** A parameter, or a member of a form, and how its value is written. */
export interface ParameterForm {
  readonly name: string;
  readonly style?: string | undefined;
  readonly explode?: boolean | undefined;
  readonly allowReserved?: boolean | undefined;
  readonly isJson?: boolean | undefined;
}

/** A value that the parameter's style has no form for; the message says which. */
export class NoForm extends Error {}

/** A value as far as styles tell values apart. */
export type Shape =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly string[] }
  | { readonly kind: "object"; readonly members: readonly (readonly [string, string])[] };

/** The value's shape. Throws NoForm for one that no style knows. */
export function shapeOf(value: JsonValue): Shape {
  if (Array.isArray(value)) return { kind: "list", items: value.map(scalarText) };
  if (!isObject(value)) return { kind: "text", text: scalarText(value) };
  return {
    kind: "object",
    members: Object.entries(value).map(([name, member]) => [name, scalarText(member)]),
  };
}

/** A text such as RFC 6570 knows: without it, null and nested values would be written in a way that no server expects. */
export function scalarText(value: JsonValue): string {
  if (typeof value === "string") {
    if (value.isWellFormed()) return value;
    throw new NoForm("is not valid Unicode");
  }
  if (value === null) throw new NoForm("null cannot be written; leave it out");
  if (typeof value === "object") throw new NoForm("what is nested deeper than one level cannot be written");
  // A client that made it a double may have lost digits, and a URL shows 1e21 where an integer is expected.
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new NoForm("an integer beyond 2^53 does not fit a number; give it as a string");
  }
  return String(value);
}

/** What is given, or what stands between two such texts. */
export type Part = string | { readonly joint: string };

/** Name and value of a parameter, before they are encoded. */
export interface StyledPair {
  readonly name: readonly Part[];
  readonly value: readonly Part[];
}

/** The pairs that the value is in a query or a form; none for an empty list or object. */
export function styledPairs(parameter: ParameterForm, value: JsonValue): StyledPair[] {
  const { name, style = "form", allowReserved } = parameter;
  const { explode = style === "form" || style === "deepObject" } = parameter;
  const shape = shapeOf(value);
  const delimiter = delimiters.get(style);
  if (delimiter !== undefined) {
    // Only a comma is told from the encoded one of an item.
    if (!explode && (delimiter !== "," || allowReserved === true)) requireWithout(shape, delimiter);
    return delimited(name, shape, explode, delimiter);
  }
  if (style !== "deepObject") throw new NoForm(`style ${style} is none of a query`);
  if (shape.kind !== "object") throw new NoForm("style deepObject writes only objects");
  return shape.members.map(([member, text]) => ({
    name: [name, { joint: "[" }, member, { joint: "]" }],
    value: [text],
  }));
}

/** What would be read as another list, or as another object, is not sent. */
export function requireWithout(shape: Shape, delimiter: string): void {
  if (shape.kind === "text" || !textsOf(shape).some((text) => text.includes(delimiter))) return;
  throw new NoForm(`has ${JSON.stringify(delimiter)} in a part, and its style separates parts by that`);
}

function textsOf(shape: Exclude<Shape, { kind: "text" }>): readonly string[] {
  return shape.kind === "list" ? shape.items : shape.members.flat();
}

const delimiters = new Map([
  ["form", ","],
  ["spaceDelimited", " "],
  ["pipeDelimited", "|"],
]);

function delimited(name: string, shape: Shape, explode: boolean, delimiter: string): StyledPair[] {
  if (shape.kind === "text") return [{ name: [name], value: [shape.text] }];
  if (explode && shape.kind === "list") return shape.items.map((item) => ({ name: [name], value: [item] }));
  if (explode && shape.kind === "object") {
    return shape.members.map(([member, text]) => ({ name: [member], value: [text] }));
  }
  const texts = textsOf(shape);
  // As if it were not there (RFC 6570, 2.3).
  if (texts.length === 0) return [];
  const value = texts.flatMap((text, at): Part[] => (at === 0 ? [text] : [{ joint: delimiter }, text]));
  return [{ name: [name], value }];
}
