import { create, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";

/** Not in a WeakMap: see `request-call.ts`. */
const source = Symbol("JSON");

/** The JSON that the message was made of by `valueOfText`, if it was. */
export function textOfValue(message: object): string | Buffer | undefined {
  const made: { readonly [source]?: string | Buffer } = message;
  return made[source];
}

/** The JSON that the object was made of by `structOfText`, if it was. */
export function textOfStruct(json: object): string | undefined {
  const made: { readonly [source]?: string } = json;
  return made[source];
}

/**
 * The object of a JSON text, for a field that holds a `google.protobuf.Struct`. Like the message below, it is parsed
 * only when something else than our writers looks into it.
 */
export function structOfText(text: string): JsonObject {
  let isParsed = false;
  const parsed = (target: JsonObject): JsonObject => {
    if (!isParsed) {
      isParsed = true;
      // Not assigned: a member may be called `__proto__`.
      const members = JSON.parse(text) as JsonObject;
      Object.defineProperties(target, Object.getOwnPropertyDescriptors(members));
    }
    return target;
  };
  return new Proxy<JsonObject>(
    {},
    {
      get: (target, name): unknown => (name === source ? text : Reflect.get(parsed(target), name)),
      has: (target, name) => Reflect.has(parsed(target), name),
      ownKeys: (target) => Reflect.ownKeys(parsed(target)),
      getOwnPropertyDescriptor: (target, name) => Reflect.getOwnPropertyDescriptor(parsed(target), name),
    },
  );
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
