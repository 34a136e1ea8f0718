import type { JsonValue } from "@bufbuild/protobuf";
import { parseJson } from "#src/json/read.ts";
import type { Request } from "#src/platform/http.ts";
import { UnsupportedContentType } from "./errors.ts";

/** Refuses a compressed body: whoever wants to send one has gRPC and Connect, and no client of REST does so unasked. */
export function refuseEncoding({ headers }: Request): void {
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() === "identity") return;
  // The header says that it is the coding and not the type (RFC 9110, 15.5.16).
  throw new UnsupportedContentType("compressed bodies are not read: send the body without Content-Encoding", {
    headers: { "accept-encoding": "identity" },
  });
}

/** The JSON of a body, which is undefined if there is none; members with the names to keep are left as text. */
export async function jsonOfBody(
  { headers }: Request,
  bytes: Buffer,
  kept: ReadonlySet<string>,
): Promise<JsonValue | undefined> {
  // Without a body there is nothing to mistake, so that `curl -X POST` needs no header.
  if (bytes.length === 0) return undefined;
  const type = headers["content-type"] ?? "";
  // Without the hyphen it is no charset's name, and everybody knows what is meant.
  if (/^application\/json\s*(;\s*(charset="?utf-?8"?\s*)?)?$/i.test(type)) return parseJson(bytes, kept);
  const isInOtherCharset = /^application\/json\s*;.*charset=/i.test(type);
  throw new UnsupportedContentType(
    `the body must be ${isInOtherCharset ? "in UTF-8" : "JSON"}: send Content-Type: application/json`,
  );
}
