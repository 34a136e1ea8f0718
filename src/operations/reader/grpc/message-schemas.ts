import {
  type DescField,
  type DescMessage,
  type DescOneof,
  type JsonObject,
  ScalarType,
} from "@bufbuild/protobuf";
import {
  FeatureSet_FieldPresence as Presence,
  hasCustomJsonRepresentation,
  isWrapperDesc,
} from "@bufbuild/protobuf/wkt";
import { jsonType, nameType } from "#src/json/json-type.ts";
import { commentOf } from "#src/platform/comments.ts";
import { measured, type Definition } from "../schemas/definitions.ts";
import { noNeeds, type Needs } from "../needs.ts";

/** Whether a schema is of what a service is sent, or of what it answers. */
export type Direction = "question" | "answer";

/** JSON Schemas of protobuf messages as their JSON mapping has them. */
export interface MessageSchemas {
  /** Of the message; `needs` collects what it refers to. */
  read(message: DescMessage, direction: Direction, needs: Needs): JsonObject;
  /** All messages that were referred to, and those in them. By name. */
  settle(): ReadonlyMap<string, Definition>;
}

/** Knows none yet. */
export function createMessageSchemas(): MessageSchemas {
  const named = new Map<string, { readonly message: DescMessage; readonly direction: Direction }>();

  function read(message: DescMessage, direction: Direction, needs: Needs): JsonObject {
    if (hasOwnForm(message)) return ownForm(message);
    const name = direction === "question" ? message.typeName : `${message.typeName}-answer`;
    named.set(name, { message, direction });
    needs.names.add(name);
    return { $ref: `#/$defs/${name}` };
  }

  function ofFields(message: DescMessage, direction: Direction, needs: Needs): JsonObject {
    const isQuestion = direction === "question";
    const ofField = (field: DescField): JsonObject => {
      const comment = commentOf(field).slice(0, longestComment);
      return {
        ...inShape(
          field,
          oneOfField(field, (inner) => read(inner, direction, needs)),
        ),
        ...(comment !== "" && { description: comment }),
        ...(field.deprecated && { deprecated: true }),
      };
    };
    const choices = isQuestion ? message.oneofs.map(atMostOne) : [];
    const required = message.fields.filter(isRequired).map(({ jsonName }) => jsonName);
    const comment = commentOf(message).slice(0, longestComment);
    return {
      type: "object",
      ...(comment !== "" && { description: comment }),
      properties: Object.fromEntries(message.fields.map((field) => [field.jsonName, ofField(field)])),
      ...(required.length > 0 && { required }),
      // A service may answer more in its next version; what it is sent and does not know, it drops unseen or refuses.
      ...(isQuestion && message.proto.extensionRange.length === 0 && { additionalProperties: false }),
      ...(choices.length > 0 && { allOf: choices }),
    };
  }

  return {
    read,
    settle() {
      const settled = new Map<string, Definition>();
      // What is named meanwhile comes after, and the iteration goes on with it.
      for (const [name, { message, direction }] of named) {
        const needs = noNeeds();
        const schema = ofFields(message, direction, needs);
        settled.set(name, { schema, needs, ...measured(name, schema) });
      }
      return settled;
    },
  };
}

const longestComment = 4_000;

/** Whether its JSON is something else than an object of its fields. */
function hasOwnForm(message: DescMessage): boolean {
  return hasCustomJsonRepresentation(message) || message.typeName === "google.protobuf.Empty";
}

function ownForm(message: DescMessage): JsonObject {
  if (isWrapperDesc(message)) return { anyOf: [scalarType(message.fields[0]), { type: "null" }] };
  if (message.typeName === "google.protobuf.FieldMask") return { type: "string" };
  return jsonType({ message });
}

/** One value: of the field itself, or of an item if it is a list or map. */
function oneOfField(field: DescField, ofMessage: (message: DescMessage) => JsonObject): JsonObject {
  return field.message === undefined ? scalarType(field) : ofMessage(field.message);
}

function scalarType(field: Pick<DescField, "enum" | "message" | "scalar">): JsonObject {
  if (field.enum?.typeName === "google.protobuf.NullValue") return { type: "null" };
  const { pattern, ...usual } = jsonType(field);
  // Also values that the descriptors do not know yet.
  if (field.enum !== undefined) return { anyOf: [{ enum: usual.enum ?? [] }, { type: "integer" }] };
  if (field.scalar === ScalarType.DOUBLE || field.scalar === ScalarType.FLOAT) {
    return { anyOf: [usual, { enum: ["NaN", "Infinity", "-Infinity"] }] };
  }
  // Of base64 it says what the encoding says, and takes long for megabytes.
  return pattern === undefined || usual.contentEncoding === "base64" ? usual : { ...usual, pattern };
}

function inShape(field: DescField, one: JsonObject): JsonObject {
  if (field.fieldKind === "list") return { type: "array", items: one };
  if (field.fieldKind !== "map") return one;
  return { type: "object", propertyNames: nameType(field), additionalProperties: one };
}

/** None of the fields, or exactly one. A list of all pairs would grow with their square. */
function atMostOne({ fields }: DescOneof): JsonObject {
  const each = fields.map(({ jsonName }) => ({ required: [jsonName] }));
  return { oneOf: [{ not: { anyOf: each } }, ...each] };
}

/** Of `proto2`. */
function isRequired({ presence }: DescField): boolean {
  return presence === Presence.LEGACY_REQUIRED;
}
