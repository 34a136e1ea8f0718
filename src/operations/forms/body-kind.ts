/** How a body is written: as JSON, as one of the two forms, as text, or as the bytes that the caller gives. */
export type BodyKind = "json" | "form" | "multipart" | "text" | "bytes";

/** How a body of this content type is written. */
export function bodyKind(contentType: string): BodyKind {
  const [essence = ""] = contentType.trim().toLowerCase().split(/\s*;/);
  if (/^[^/]+\/(?:[^/]+\+)?json$/.test(essence)) return "json";
  if (essence === "application/x-www-form-urlencoded") return "form";
  if (essence.startsWith("multipart/")) return "multipart";
  return essence.startsWith("text/") || textual.test(essence) ? "text" : "bytes";
}

const textual =
  /^application\/(?:(?:[^/]+\+)?(?:xml|yaml)|(?:x-)?(?:javascript|ndjson|jsonlines)|jsonl|json-seq|graphql|sql|x-yaml)$/;

/** What a Content-Type may be, for a JSON Schema as well: nothing that ends the header that it stands in. */
export const contentTypePattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!-~][ -~]*$";
