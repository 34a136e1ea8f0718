import { toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { isObject } from "#src/json/object.ts";
import { bodyKind } from "#src/operations/forms/body-kind.ts";
import type { BodyForm } from "#src/operations/operation.ts";
import { requestBody, type RequestBody } from "./call-body.ts";
import { InvalidInput } from "./errors.ts";
import { formParts } from "./form-parts.ts";
import { formText } from "./form-text.ts";
import { anyBytes, concreteType, givenFile } from "./given-file.ts";
import { problem } from "./input-problems.ts";
import { multipartBody } from "./multipart.ts";
import { NoForm, scalarText } from "./styles.ts";

/** The body as its operation takes it; as JSON where nothing is known. Throws InvalidInput for one that has no form. */
export async function actionBody(
  form: BodyForm | undefined,
  given: Value | undefined,
): Promise<RequestBody | undefined> {
  if (given === undefined) return undefined;
  const kind = form && bodyKind(form.contentType);
  if (form === undefined || kind === "json") {
    const written = await requestBody({ case: "json", value: given });
    return written && form ? { ...written, contentType: form.contentType } : written;
  }
  const body = toJson(ValueSchema, given);
  if (kind === "form" || kind === "multipart") return formBody(form, body);
  try {
    return kind === "text" ? textBody(form, body) : bytesBody(form, body);
  } catch (error) {
    if (error instanceof NoForm) throw new InvalidInput([problem("/body", error.message)]);
    throw error;
  }
}

async function formBody(form: BodyForm, body: JsonValue): Promise<RequestBody> {
  if (!isObject(body)) throw new InvalidInput([problem("/body", "is a form: give an object")]);
  const parts = formParts(form, body);
  if (bodyKind(form.contentType) === "multipart") return multipartBody(form.contentType, parts);
  return { bytes: await formText(parts), contentType: form.contentType };
}

function textBody({ contentType }: BodyForm, body: JsonValue): RequestBody {
  if (typeof body === "object") throw new NoForm("is text: give a string");
  const [essence = ""] = contentType.split(/\s*;/);
  // What we send is UTF-8, whatever the document says; of other types than text/…, the content itself says it.
  const type = essence.startsWith("text/") ? `${essence}; charset=utf-8` : contentType;
  return { bytes: Buffer.from(scalarText(body)), contentType: type };
}

function bytesBody({ contentType }: BodyForm, body: JsonValue): RequestBody {
  const file = givenFile(body);
  return { bytes: file.bytes, contentType: file.contentType ?? concreteType(contentType) ?? anyBytes };
}

/**
 * The headers with the caller's Content-Type only where it may say another one than the body has by itself: a type that
 * is written in the same way. Throws InvalidInput for any other.
 */
export function headersBeside(
  form: BodyForm | undefined,
  headers: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const isType = (name: string) => name.toLowerCase() === "content-type";
  const [, contentType] = Object.entries(headers).find(([name]) => isType(name)) ?? [];
  if (form === undefined || contentType === undefined) return headers;
  const kind = bodyKind(form.contentType);
  if (kind !== "bytes" && kind !== bodyKind(contentType)) {
    throw new InvalidInput([problem("/header/content-type", `is not that of the body, ${form.contentType}`)]);
  }
  if (kind !== "multipart") return headers;
  // It has to name the boundary between the parts.
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isType(name)));
}
