import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { bodyKind } from "./body-kind.ts";

/** What a `$ref` refers to; undefined if nothing is there. */
export type Resolve = (ref: string) => JsonValue | undefined;

/** A member of a form, as one of its schemas describes it. */
interface Member {
  readonly name: string;
  readonly schema: JsonValue;
}

/** A schema that refers to others further than this is not looked into. */
const maxSteps = 1_000;

/** The members of the object that the schema describes, by itself or by those that it is composed of. */
export function membersOf(schema: JsonValue | undefined, resolve: Resolve): Member[] {
  const found: Member[] = [];
  const seen = new Set<JsonValue | undefined>();
  const waiting = [schema];
  while (waiting.length > 0 && seen.size < maxSteps) {
    const next = waiting.pop();
    if (!isObject(next) || seen.has(next)) continue;
    seen.add(next);
    if (typeof next["$ref"] === "string") waiting.push(resolve(next["$ref"]));
    waiting.push(...partsOf(next));
    const { properties } = next;
    if (isObject(properties)) {
      found.push(...Object.entries(properties).map(([name, member]) => ({ name, schema: member })));
    }
  }
  return found;
}

/** The keywords by which a schema is composed of others for the same value. */
export const compositions = ["allOf", "anyOf", "oneOf"] as const;

function partsOf(schema: JsonObject): JsonValue[] {
  return compositions.flatMap((keyword) => {
    const parts = schema[keyword];
    return Array.isArray(parts) ? parts : [];
  });
}

/** Where a member of a form is sent. */
export interface MemberContext {
  readonly isMultipart: boolean;
  /** What the document says that it is sent as, beside its schema. */
  readonly contentType?: string | undefined;
}

/** Whether the value, or each item of the list, is bytes. */
export function isBytes(schema: JsonValue, context: MemberContext, resolve: Resolve): boolean {
  const described = resolved(schema, resolve);
  if (described === undefined) return false;
  if (typesOf(described).includes("array")) {
    const items = resolved(described["items"], resolve);
    return items !== undefined && !typesOf(items).includes("array") && isBytes(items, context, resolve);
  }
  const [only, ...others] = partsOf(described).filter((part) => !isNull(part));
  if (only !== undefined) {
    return [only, ...others].every((part) => {
      const inner = resolved(part, resolve);
      return inner !== undefined && partsOf(inner).length === 0 && isBytes(inner, context, resolve);
    });
  }
  return isBytesAlone(described, context);
}

/** By the table of the Encoding Object in OpenAPI 3.1, and what was usual before. */
function isBytesAlone(schema: JsonObject, { isMultipart, contentType }: MemberContext): boolean {
  const { format, contentEncoding, contentMediaType } = schema;
  const types = typesOf(schema);
  if (contentEncoding !== undefined || types.some((type) => type !== "string")) return false;
  if (format === "binary") return true;
  const mediaType = contentType ?? (typeof contentMediaType === "string" ? contentMediaType : undefined);
  const kind = mediaType && bodyKind(mediaType);
  if (types.length > 0) return kind === "bytes";
  if (valueKeywords.some((keyword) => keyword in schema)) return false;
  return contentMediaType === undefined ? isMultipart && (kind ?? "bytes") === "bytes" : kind !== "json";
}

/** With one of these, a schema without a type says what JSON value is meant. */
const valueKeywords = [
  ...["properties", "additionalProperties", "required", "items", "prefixItems", "enum", "const", "not", "if"],
  ...["minimum", "maximum", "pattern", "multipleOf", "$ref", "$dynamicRef"],
];

/** Whether the schema is of a string, a number or a boolean, and of nothing else. */
export function isScalar(schema: JsonObject, resolve: Resolve): boolean {
  const types = typesOf(resolved(schema, resolve) ?? {});
  return types.length > 0 && !types.some((type) => type === "object" || type === "array");
}

/** What the schema is when its references are followed; undefined if it is no object. */
export function resolved(schema: JsonValue | undefined, resolve: Resolve): JsonObject | undefined {
  let next = schema;
  for (let step = 0; step < maxSteps && isObject(next); step += 1) {
    if (typeof next["$ref"] !== "string") return next;
    const target = resolve(next["$ref"]);
    const { $ref: _, ...beside } = next;
    next = isObject(target) ? { ...target, ...beside } : undefined;
  }
  return undefined;
}

/** Its types other than null. */
export function typesOf({ type }: JsonObject): JsonValue[] {
  const types = Array.isArray(type) ? type : type === undefined ? [] : [type];
  return types.filter((one) => one !== "null");
}

function isNull(schema: JsonValue): boolean {
  return isObject(schema) && schema["type"] === "null";
}
