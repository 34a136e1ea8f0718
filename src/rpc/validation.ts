import { create, type DescMessage, type DescService, type Message } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import { createValidator, violationsToProto, type Validator } from "@bufbuild/protovalidate";
import { InvalidRequest } from "#src/platform/errors.ts";

/** A validator that has already read the rules of these services' requests: the first look takes milliseconds. */
export function createRequestValidator(services: readonly DescService[]): Validator {
  const validator = createValidator();
  for (const { methods } of services) {
    for (const { input } of methods) validator.validate(input, create(input));
  }
  return validator;
}

/** Throws `InvalidRequest`, naming each field and rule, and never a value. */
export function requireValid(validator: Validator, schema: DescMessage, message: Message): void {
  refuseNul(message, "");
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return;
  if (result.kind === "error") throw result.error;
  const texts = result.violations.map((violation) => `${fieldName(violation.field)}: ${violation.message}`);
  const [value, desc] = violationsToProto(result.violations);
  throw new InvalidRequest(texts.join("; "), [{ desc, value }]);
}

/** Postgres cannot store NUL in text, and nothing that is meant as text holds one. */
function refuseNul(value: unknown, at: string): void {
  if (typeof value === "string") {
    if (value.includes("\0")) throw new InvalidRequest(`${at}: must not contain NUL characters`);
  } else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    for (const [name, member] of Object.entries(value)) {
      if (name.includes("\0")) throw new InvalidRequest(`${at}: must not contain NUL characters`);
      refuseNul(member, at === "" ? name : `${at}.${name}`);
    }
  }
}

/** The field's path as it stands in JSON, where people read it. */
function fieldName(path: Path): string {
  return path
    .map((part) => {
      switch (part.kind) {
        case "field":
          return part.jsonName;
        case "oneof":
          return part.localName;
        case "list_sub":
          return `[${part.index}]`;
        case "map_sub":
          // A map's key is the caller's own text, which may be anything.
          return "[…]";
        case "extension":
          return part.typeName;
      }
    })
    .join(".")
    .replaceAll(".[", "[");
}
