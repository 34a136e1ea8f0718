import type { DescField, DescMessage, JsonValue, Message } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { JsonText, parseExactly } from "./exact.ts";
import { valueOfText } from "./json-text.ts";
import { isObject } from "./object.ts";

interface AnyJson {
  readonly fields: readonly DescField[];
  /** Of these fields in JSON. */
  readonly names: ReadonlySet<string>;
}

const known = new WeakMap<DescMessage, AnyJson>();

/** The fields of the message that hold any JSON, of which there may be a lot. */
export function anyJsonIn(desc: DescMessage): AnyJson {
  const before = known.get(desc);
  if (before !== undefined) return before;
  const fields = desc.fields.filter(
    ({ fieldKind, message }) => fieldKind === "message" && message.typeName === ValueSchema.typeName,
  );
  const found = { fields, names: new Set(fields.flatMap(({ jsonName, name }) => [jsonName, name])) };
  known.set(desc, found);
  return found;
}

/** The JSON for `fromJson`, with null where text was kept, and that text. */
export function withoutTexts(
  desc: DescMessage,
  json: JsonValue,
): { rest: JsonValue; texts: ReadonlyMap<DescField, string> } {
  const texts = new Map<DescField, string>();
  const { fields } = anyJsonIn(desc);
  if (fields.length === 0 || !isObject(json)) return { rest: json, texts };
  const rest = { ...json };
  for (const field of fields) {
    for (const name of [field.jsonName, field.name]) {
      const value = rest[name];
      if (!JsonText.isOne(value)) continue;
      texts.set(field, value.text);
      rest[name] = null;
    }
  }
  return { rest, texts };
}

/** Sets each field to a value that is parsed only when something looks into it. */
export function setTexts(message: Message, texts: ReadonlyMap<DescField, string | Buffer>): Message {
  for (const [{ localName, oneof }, text] of texts) {
    const value = valueOfText(text, (json) => parseExactly(json.toString(), Infinity));
    Object.assign(
      message,
      oneof === undefined ? { [localName]: value } : { [oneof.localName]: { case: localName, value } },
    );
  }
  return message;
}
