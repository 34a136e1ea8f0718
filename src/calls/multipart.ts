import { randomBytes } from "node:crypto";
import type { RequestBody } from "./call-body.ts";
import type { FormPart } from "./form-parts.ts";
import { anyBytes, concreteType } from "./given-file.ts";
import type { Part } from "./styles.ts";

/** The parts as a body of several, such as `multipart/form-data` (RFC 7578). */
export function multipartBody(contentType: string, parts: readonly FormPart[]): RequestBody {
  const [essence = ""] = contentType.split(";");
  // Random, so that no part holds it.
  const boundary = `patchbay-${randomBytes(18).toString("hex")}`;
  const pieces = parts.flatMap((part) => [
    Buffer.from(`--${boundary}\r\n${headOf(part)}\r\n`),
    bytesOf(part),
    Buffer.from("\r\n"),
  ]);
  return {
    bytes: Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)]),
    contentType: `${essence.trim()}; boundary=${boundary}`,
  };
}

/** A file always has a name, since most servers tell files from other parts by that. */
function headOf({ name, file, contentType }: FormPart): string {
  const fieldName = plain(name);
  const filename = file && (file.filename ?? fieldName);
  const type = file ? (file.contentType ?? concreteType(contentType) ?? anyBytes) : contentType;
  return (
    `Content-Disposition: form-data; name="${quoted(fieldName)}"` +
    (filename === undefined ? "" : `; filename="${quoted(filename)}"`) +
    (type === undefined ? "\r\n" : `\r\nContent-Type: ${type}\r\n`)
  );
}

/** As browsers do (HTML, "multipart/form-data encoding algorithm"): nothing that ends the text or the header. */
function quoted(text: string): string {
  return text.replaceAll('"', "%22").replaceAll("\r", "%0D").replaceAll("\n", "%0A").replaceAll("\0", "%00");
}

function bytesOf({ value, file }: FormPart): Buffer {
  return file?.bytes ?? Buffer.from(plain(value));
}

function plain(parts: readonly Part[]): string {
  return parts.map((part) => (typeof part === "string" ? part : part.joint)).join("");
}
