import type { JsonValue } from "@bufbuild/protobuf";
import { fromBase64 } from "#src/json/base64.ts";
import { isObject } from "#src/json/object.ts";
import { contentTypePattern } from "#src/operations/forms/body-kind.ts";
import { NoForm } from "./styles.ts";

/** Bytes that the caller gave, and what it said of them. */
export interface GivenFile {
  readonly bytes: Buffer;
  readonly filename?: string;
  readonly contentType?: string;
}

/** Reads base64, or an object that has it as `data`. Throws NoForm for anything else. */
export function givenFile(value: JsonValue): GivenFile {
  if (typeof value === "string") return { bytes: bytesOf(value) };
  if (!isObject(value) || typeof value["data"] !== "string") {
    throw new NoForm("is bytes: give base64, or an object with it as data");
  }
  const { filename, contentType, data } = value;
  return {
    bytes: bytesOf(data),
    ...(typeof filename === "string" && { filename }),
    ...(typeof contentType === "string" && { contentType: checkedType(contentType) }),
  };
}

function bytesOf(text: string): Buffer {
  const bytes = fromBase64(text);
  if (bytes === undefined) throw new NoForm("is bytes, and what is given is no base64");
  return bytes;
}

/** It becomes a header's value, also where no schema was there to check it. */
function checkedType(contentType: string): string {
  if (isContentType.test(contentType)) return contentType;
  throw new NoForm("has a contentType that is none, such as image/png");
}

const isContentType = new RegExp(contentTypePattern);

/** The type of bytes that nothing is known of. */
export const anyBytes = "application/octet-stream";

/** The first of a list of content types that is no range, such as `image/*`. */
export function concreteType(contentTypes: string | undefined): string | undefined {
  return contentTypes
    ?.split(",")
    .map((one) => one.trim())
    .find((one) => isContentType.test(one) && !one.includes("*"));
}
