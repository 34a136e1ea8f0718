import type { JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import type { StyleTable } from "#src/operations/operation.ts";

/** A parameter that stands in a request's path, query or headers, and how its lists and objects are written there. */
export interface ParameterForm {
  readonly name: string;
  readonly style?: string | undefined;
  readonly explode?: boolean | undefined;
}

/** A value that the parameter's style has no form for; the message says which. */
export class NoForm extends Error {}

/** Name and value of a query parameter, percent-encoded, as they stand in the URL. */
export type EncodedPair = readonly [name: string, value: string, form: "encoded"];

/** What stands in the path in place of the parameter, percent-encoded. */
export function pathText(parameter: ParameterForm, value: JsonValue, table: StyleTable): string {
  const { name, style = "simple", explode = false } = parameter;
  const shape = shapeOf(value);
  switch (style) {
    case "simple":
      return simple(shape, explode, encode);
    case "label": {
      const between = explode || table === "3.0" ? "." : ",";
      return `.${joined(shape, { between, pairedBy: explode ? "=" : between }, encode)}`;
    }
    case "matrix":
      return matrix(encode(name), shape, explode);
    default:
      throw new NoForm(`style ${style} is none of a path`);
  }
}

/** The pairs that the parameter is in the query; none for an empty list or object. */
export function queryPairs(parameter: ParameterForm, value: JsonValue): EncodedPair[] {
  const { style = "form", explode = style === "form" || style === "deepObject" } = parameter;
  const name = encode(parameter.name);
  const shape = shapeOf(value);
  const delimiter = delimiters.get(style);
  if (delimiter !== undefined) return form(name, shape, explode, delimiter);
  if (style !== "deepObject") throw new NoForm(`style ${style} is none of a query`);
  if (shape.kind !== "object") throw new NoForm("style deepObject writes only objects");
  return shape.members.map(([member, text]) => pair(`${name}%5B${encode(member)}%5D`, encode(text)));
}

/** The header's value; headers are not percent-encoded. */
export function headerText({ explode = false }: ParameterForm, value: JsonValue): string {
  return simple(shapeOf(value), explode, (text) => text);
}

const delimiters = new Map([
  ["form", ","],
  ["spaceDelimited", "%20"],
  ["pipeDelimited", "%7C"],
]);

/** A value as far as styles tell values apart. */
type Shape =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly string[] }
  | { readonly kind: "object"; readonly members: readonly (readonly [string, string])[] };

function shapeOf(value: JsonValue): Shape {
  if (Array.isArray(value)) return { kind: "list", items: value.map(scalarText) };
  if (!isObject(value)) return { kind: "text", text: scalarText(value) };
  return {
    kind: "object",
    members: Object.entries(value).map(([name, member]) => [name, scalarText(member)]),
  };
}

/** Such as RFC 6570 knows: without it, null and nested values would be written in a way that no server expects. */
function scalarText(value: JsonValue): string {
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

type Encode = (text: string) => string;

/** What joins the parts of lists and objects. */
interface Joints {
  readonly between: string;
  readonly pairedBy: string;
}

function simple(shape: Shape, explode: boolean, encode: Encode): string {
  return joined(shape, { between: ",", pairedBy: explode ? "=" : "," }, encode);
}

function joined(shape: Shape, { between, pairedBy }: Joints, encode: Encode): string {
  switch (shape.kind) {
    case "text":
      return encode(shape.text);
    case "list":
      return shape.items.map(encode).join(between);
    case "object":
      return shape.members.map(([name, text]) => encode(name) + pairedBy + encode(text)).join(between);
  }
}

function matrix(name: string, shape: Shape, explode: boolean): string {
  if (explode && shape.kind === "list")
    return shape.items.map((item) => matrixPart(name, encode(item))).join("");
  if (explode && shape.kind === "object") {
    return shape.members.map(([member, text]) => matrixPart(encode(member), encode(text))).join("");
  }
  return matrixPart(name, simple(shape, false, encode));
}

/** An empty one has no equals sign, unlike in a query. */
function matrixPart(name: string, text: string): string {
  return text === "" ? `;${name}` : `;${name}=${text}`;
}

function form(name: string, shape: Shape, explode: boolean, delimiter: string): EncodedPair[] {
  if (shape.kind === "text") return [pair(name, encode(shape.text))];
  if (explode && shape.kind === "list") return shape.items.map((item) => pair(name, encode(item)));
  if (explode && shape.kind === "object") {
    return shape.members.map(([member, text]) => pair(encode(member), encode(text)));
  }
  const text = joined(shape, { between: delimiter, pairedBy: delimiter }, encode);
  return text === "" ? [] : [pair(name, text)];
}

function pair(name: string, value: string): EncodedPair {
  return [name, value, "encoded"];
}

/** Of all but unreserved characters (RFC 3986, 2.3), since each other may be what joins two parts. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
