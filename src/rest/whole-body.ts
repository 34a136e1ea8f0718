import { type DescField, type DescMessage, getOption, type Message, ScalarType } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { rest_field, type WholeBody } from "#gen/patchbay/options/v1/options_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { contentTypeOf, type Request } from "#src/platform/http.ts";
import { decodeRequest } from "./decode.ts";
import type { Route } from "./router.ts";

/** A field that may be the whole body of a request. */
export interface WholeField {
  readonly field: DescField;
  readonly declared: WholeBody;
  /** With the quotes around them. */
  readonly marks: readonly string[];
}

/** The field of the message that may be a whole body. Reports what no body could be. */
export function wholeFieldOf(message: DescMessage, fault: (text: string) => void): WholeField | undefined {
  const found = message.fields.flatMap((field): WholeField[] => {
    const declared = getOption(field, rest_field).wholeBody;
    return declared === undefined
      ? []
      : [{ field, declared, marks: declared.mark.map((text) => JSON.stringify(text)) }];
  });
  if (found.length > 1) fault("has two fields that may be the whole body");
  for (const { field } of found) {
    if (field.fieldKind !== "scalar" || field.scalar !== ScalarType.BYTES) {
      fault(`${field.name} may be the whole body, so it must be bytes`);
    }
  }
  return found[0];
}

/** Whether the body is the field, and no message in JSON. */
export function isWhole({ marks }: WholeField, request: Request, body: Buffer): boolean {
  if (body.length === 0) return false;
  // Any charset: what the bytes are is for those to say that read them.
  const isJson = /^application\/json\s*(;|$)/.test(contentTypeOf(request));
  return !isJson || marks.some((mark) => body.includes(mark));
}

/** The message whose field the body is; the other fields come from path and query. */
export function decodeWhole({ field }: WholeField, route: Route, query: string, body: Buffer): Message {
  const binding = { ...route.binding, body: field };
  // Without bytes, which stand for all of them: nobody is to encode these as text.
  const message = decodeRequest({ ...route, binding }, query, "");
  reflect(binding.method.input, message).set(
    field,
    new Uint8Array(body.buffer, body.byteOffset, body.length),
  );
  return message;
}

/** What is wrong with JSON, for a caller that may have meant the field itself. */
export function withOtherType({ field }: WholeField, error: unknown): unknown {
  if (!(error instanceof InvalidRequest)) return error;
  return new InvalidRequest(
    `${error.message}; if the body is the ${field.jsonName} itself, send it with its own Content-Type, such as application/yaml`,
  );
}
