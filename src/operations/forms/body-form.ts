import type { JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { bodyKind } from "./body-kind.ts";
import { isBytes, membersOf, type Resolve } from "./form-members.ts";
import type { BodyForm, MemberForm } from "../operation.ts";

/** What an OpenAPI document, upgraded to 3.1, says of a body in one content type. */
export interface DocumentedBody {
  readonly contentType: string;
  readonly required: boolean;
  /** Both as the document has them, right or wrong. */
  readonly schema: JsonValue | undefined;
  readonly encoding: JsonValue | undefined;
}

/** How the body is sent. */
export function bodyFormOf(documented: DocumentedBody, resolve: Resolve): BodyForm {
  const { required, schema, encoding } = documented;
  const contentType = concrete(documented.contentType, schema, resolve);
  const kind = bodyKind(contentType);
  if (kind !== "form" && kind !== "multipart") return { contentType, required };
  const encodings = isObject(encoding) ? encoding : {};
  const members = membersOf(schema, resolve);
  const names = [...new Set([...members.map(({ name }) => name), ...Object.keys(encodings)])];
  const forms = names.flatMap((name): [string, MemberForm][] => {
    const said = memberForm(Object.hasOwn(encodings, name) ? encodings[name] : undefined);
    const context = { isMultipart: kind === "multipart", contentType: said.contentType };
    const here = members.filter((member) => member.name === name);
    const form = here.some((member) => isBytes(member.schema, context, resolve))
      ? { ...said, isBytes: true }
      : said;
    return Object.keys(form).length === 0 ? [] : [[name, form]];
  });
  return { contentType, required, ...(forms.length > 0 && { encoding: Object.fromEntries(forms) }) };
}

function memberForm(said: JsonValue | undefined): MemberForm {
  if (!isObject(said)) return {};
  const { style, explode, allowReserved, contentType } = said;
  return {
    ...(typeof style === "string" && { style }),
    ...(typeof explode === "boolean" && { explode }),
    ...(typeof allowReserved === "boolean" && { allowReserved }),
    ...(typeof contentType === "string" && { contentType }),
  };
}

/** A range such as `*\/*`, which cannot be sent, as the type in it that its schema suggests. */
function concrete(contentType: string, schema: JsonValue | undefined, resolve: Resolve): string {
  const range = contentType.trim();
  if (range === "text/*") return "text/plain";
  if (range !== "*/*" && range !== "application/*") return range;
  const isOpen = schema === undefined || isBytes(schema, { isMultipart: true }, resolve);
  return isOpen ? "application/octet-stream" : "application/json";
}
