import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { bodyKind } from "#src/operations/forms/body-kind.ts";
import type { BodyForm, MemberForm } from "#src/operations/operation.ts";
import { InvalidInput } from "./errors.ts";
import { concreteType, givenFile, type GivenFile } from "./given-file.ts";
import { escaped, problem } from "./input-problems.ts";
import { NoForm, scalarText, styledPairs, type StyledPair } from "./styles.ts";

/** One name and value of a form. */
export interface FormPart extends StyledPair {
  /** What is sent instead of the value. */
  readonly file?: GivenFile;
  /** As what the document says that it is sent; of plain text, nothing. */
  readonly contentType?: string | undefined;
  readonly allowReserved?: boolean | undefined;
}

/** The parts of a form, in the order of the members. Throws InvalidInput for a member that has no form. */
export function formParts(form: BodyForm, members: JsonObject): FormPart[] {
  const encoding = new Map(Object.entries(form.encoding ?? {}));
  const isMultipart = bodyKind(form.contentType) === "multipart";
  return Object.entries(members).flatMap(([name, value]) => {
    try {
      return partsOf(name, value, encoding.get(name) ?? {}, isMultipart);
    } catch (error) {
      if (error instanceof NoForm) throw new InvalidInput([problem(`/body/${escaped(name)}`, error.message)]);
      throw error;
    }
  });
}

/** With a style, as in a query; otherwise by content types, and a list as one part for each of its items. */
function partsOf(name: string, value: JsonValue, form: MemberForm, isMultipart: boolean): FormPart[] {
  const { style, explode, allowReserved, contentType } = form;
  if ((style ?? explode ?? allowReserved) !== undefined) {
    // In parts, nothing is encoded.
    const pairs = styledPairs({ ...form, name, allowReserved: allowReserved === true || isMultipart }, value);
    return pairs.map((pair) => ({ ...pair, allowReserved }));
  }
  // OpenAPI 3.1 repeats parts in this case as well, and takes a form for text as a query with `content`.
  const isOne = !isMultipart && contentType !== undefined && bodyKind(contentType) === "json";
  const items = Array.isArray(value) && !isOne ? value : [value];
  return items.map((item) => ({ name: [name], ...partOf(item, form) }));
}

function partOf(value: JsonValue, { isBytes, contentType }: MemberForm): Omit<FormPart, "name"> {
  if (isBytes === true) return { value: [], file: givenFile(value), contentType };
  const type = concreteType(contentType);
  const isJson = type === undefined ? isObject(value) || Array.isArray(value) : bodyKind(type) === "json";
  if (isJson) return { value: [JSON.stringify(value)], contentType: type ?? "application/json" };
  return { value: [scalarText(value)], contentType: type };
}
