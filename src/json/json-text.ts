import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";

/** Not in a WeakMap: see `request-call.ts`. */
const source = Symbol("JSON");

/** The JSON that the message was made of by `valueOfText`, if it was. */
export function textOfValue(message: object): string | Buffer | undefined {
  const made: { readonly [source]?: string | Buffer } = message;
  return made[source];
}

/**
 * The message of a JSON text, which may be given in UTF-8. Our writers pass the text on as it came, so it is parsed only
 * when something else looks into the message.
 */
export function valueOfText<Text extends string | Buffer>(
  text: Text,
  parse: (text: Text) => JsonValue,
): Value {
  let kind: Value["kind"] | undefined;
  return Object.defineProperties(create(ValueSchema), {
    kind: {
      enumerable: true,
      // How deep it may be nested, `parse` says.
      get: () => (kind ??= fromJson(ValueSchema, parse(text), { recursionLimit: Infinity }).kind),
    },
    [source]: { value: text },
  });
}
