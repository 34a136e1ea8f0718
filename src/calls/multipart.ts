import { randomBytes } from "node:crypto";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import type { RequestBody } from "./call-body.ts";
import type { FormPart } from "./form-parts.ts";
import { anyBytes, concreteType } from "./given-file.ts";
import { percentEncoding, quotable } from "./percent.ts";
import type { Part } from "./styles.ts";

/** The parts as a body of several, such as `multipart/form-data` (RFC 7578). */
export async function multipartBody(contentType: string, parts: readonly FormPart[]): Promise<RequestBody> {
  const [essence = ""] = contentType.split(";");
  // Random, so that no part holds it.
  const boundary = `patchbay-${randomBytes(18).toString("hex")}`;
  return {
    bytes: Buffer.concat(await inTurns(piecesOf(boundary, parts))),
    contentType: `${essence.trim()}; boundary=${boundary}`,
  };
}

const partsPerTurn = 100;

function* piecesOf(boundary: string, parts: readonly FormPart[]): LongWork<Buffer[]> {
  const pieces: Buffer[] = [];
  for (const [index, part] of parts.entries()) {
    if (index % partsPerTurn === 0) yield;
    pieces.push(Buffer.from(`--${boundary}\r\n${yield* headOf(part)}\r\n`, "latin1"));
    pieces.push(bytesOf(part), Buffer.from("\r\n"));
  }
  return [...pieces, Buffer.from(`--${boundary}--\r\n`)];
}

/** With a character for each byte. A file always has a name: most servers tell files from other parts by that. */
function* headOf({ name, file, contentType }: FormPart): LongWork<string> {
  const fieldName = plain(name);
  const type = file ? (file.contentType ?? concreteType(contentType) ?? anyBytes) : contentType;
  const filename = file && `; filename="${yield* percentEncoding(file.filename ?? fieldName, quotable)}"`;
  return (
    `Content-Disposition: form-data; name="${yield* percentEncoding(fieldName, quotable)}"${filename ?? ""}\r\n` +
    (type === undefined ? "" : `Content-Type: ${type}\r\n`)
  );
}

function bytesOf({ value, file }: FormPart): Buffer {
  return file?.bytes ?? Buffer.from(plain(value));
}

function plain(parts: readonly Part[]): string {
  return parts.map((part) => (typeof part === "string" ? part : part.joint)).join("");
}
