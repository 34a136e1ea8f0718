import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { bodyKind, contentTypePattern } from "./body-kind.ts";
import { compositions, isScalar, resolved, typesOf, type Resolve } from "./form-members.ts";
import type { BodyForm } from "../operation.ts";

/**
 * The JSON Schema of a body as its caller gives it, from the one that its document has: a form is an object, text is a
 * string, and bytes are base64 or, to name the file and its type as well, `{filename, contentType, data}`. References
 * stay as they are, but for those to schemas with bytes in them.
 */
export function callerSchemaOf(form: BodyForm, schema: JsonValue | undefined, resolve: Resolve): JsonObject {
  const described = isObject(schema) ? schema : {};
  switch (bodyKind(form.contentType)) {
    case "json":
      return described;
    case "text":
      return isScalar(described, resolve)
        ? described
        : { type: "string", contentMediaType: form.contentType };
    case "bytes":
      return fileSchema(described, resolve);
    case "form":
    case "multipart":
      return { type: "object", ...withFiles(described, filesOf(form), resolve) };
  }
}

function filesOf({ encoding = {} }: BodyForm): ReadonlySet<string> {
  const files = Object.entries(encoding).filter(([, member]) => member.isBytes === true);
  return new Set(files.map(([name]) => name));
}

/** As many schemas are written out in place of references to them; further ones accept base64 at the least. */
const maxInlined = 100;

function withFiles(root: JsonObject, files: ReadonlySet<string>, resolve: Resolve): JsonObject {
  const open = new Set<string>();
  let inlined = 0;

  function rewritten(schema: JsonObject): JsonObject {
    const { $ref, ...beside } = schema;
    const target = typeof $ref === "string" && !open.has($ref) ? resolve($ref) : undefined;
    if (typeof $ref !== "string" || !isObject(target) || inlined >= maxInlined) return inside(schema);
    open.add($ref);
    inlined += 1;
    const written = rewritten(target);
    open.delete($ref);
    if (written === target) return inside(schema);
    if (Object.keys(beside).every((name) => annotations.includes(name))) return { ...written, ...beside };
    const { allOf } = beside;
    return inside({ ...beside, allOf: [...(Array.isArray(allOf) ? allOf : []), written] });
  }

  /** The schema itself if nothing in it is changed, so that what refers to it can go on to do so. */
  function inside(schema: JsonObject): JsonObject {
    const { properties } = schema;
    const changed: [string, JsonValue][] = compositions.flatMap((keyword): [string, JsonValue][] => {
      const parts = schema[keyword];
      if (!Array.isArray(parts)) return [];
      const written = parts.map((part) => (isObject(part) ? rewritten(part) : part));
      return written.every((part, index) => part === parts[index]) ? [] : [[keyword, written]];
    });
    if (isObject(properties) && Object.keys(properties).some((name) => files.has(name))) {
      const written = Object.entries(properties).map(([name, member]): [string, JsonValue] => [
        name,
        files.has(name) ? fileSchema(member, resolve) : member,
      ]);
      changed.push(["properties", Object.fromEntries(written)]);
    }
    return changed.length === 0 ? schema : { ...schema, ...Object.fromEntries(changed) };
  }

  return files.size === 0 ? root : rewritten(root);
}

const annotations = ["title", "description", "summary", "deprecated"];

/** Of bytes as they are given, or of a list of them; with what the document says for people. */
function fileSchema(schema: JsonValue, resolve: Resolve): JsonObject {
  const described = resolved(schema, resolve) ?? {};
  if (typesOf(described).includes("array")) {
    return { ...described, items: fileSchema(described["items"] ?? {}, resolve) };
  }
  const kept = Object.entries(described).filter(([name]) => annotations.includes(name));
  return { ...Object.fromEntries(kept), ...file };
}

const base64 = { type: "string", contentEncoding: "base64" } as const;

const file = {
  type: ["string", "object"],
  contentEncoding: "base64",
  properties: {
    filename: { type: "string", minLength: 1, maxLength: 255 },
    contentType: { type: "string", pattern: contentTypePattern, maxLength: 255 },
    data: base64,
  },
  required: ["data"],
  additionalProperties: false,
} satisfies JsonObject;
