import type { JsonValue } from "@bufbuild/protobuf";
import type { StyleTable } from "#src/operations/operation.ts";
import { isHeaderName, isHeaderValue } from "#src/outbound/headers.ts";
import { hasEncodedBreak } from "#src/outbound/path.ts";
import { atOnce } from "#src/platform/in-turns.ts";
import { encodedPair } from "./form-text.ts";
import { percentEncoded } from "./percent.ts";
import { NoForm, requireWithout, shapeOf, styledPairs, type ParameterForm, type Shape } from "./styles.ts";

/** Name and value of a query parameter, percent-encoded, as they stand in the URL. */
export type EncodedPair = readonly [name: string, value: string, form: "encoded"];

/** What stands in the path in place of the parameter, percent-encoded. */
export function pathText(parameter: ParameterForm, value: JsonValue, table: StyleTable): string {
  const { name, style = "simple", explode = false } = parameter;
  if (parameter.isJson === true) return encode(JSON.stringify(value));
  const shape = shapeOf(value);
  switch (style) {
    case "simple":
      return simple(shape, explode, encode);
    case "label": {
      const between = explode || table === "3.0" ? "." : ",";
      if (between === ".") requireWithout(shape, between);
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
  const { name, isJson, allowReserved } = parameter;
  const pairs =
    isJson === true ? [{ name: [name], value: [JSON.stringify(value)] }] : styledPairs(parameter, value);
  return pairs.map((pair) => {
    const [encodedName, encodedValue] = atOnce(encodedPair({ ...pair, allowReserved }));
    if (hasEncodedBreak(encodedName + encodedValue))
      throw new NoForm("has a line break or NUL, which is not sent");
    return [encodedName, encodedValue, "encoded"];
  });
}

/** The header's value; headers are not percent-encoded. */
export function headerText({ name, explode = false, isJson }: ParameterForm, value: JsonValue): string {
  const text = isJson === true ? asciiJson(value) : simple(shapeOf(value), explode, (part) => part);
  if (!isHeaderName(name)) throw new NoForm("has characters that header names cannot have");
  if (isHeaderValue(text)) return text;
  throw new NoForm("has line breaks, control or non-Latin-1 characters, which are not sent");
}

/** Headers have no other characters that every server reads alike. */
function asciiJson(value: JsonValue): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
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

function encode(text: string): string {
  return percentEncoded(text);
}
