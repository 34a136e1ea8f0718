import { create, createRegistry, type DescMessage, type DescService, type Message } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import { createValidator, violationsToProto, type Validator, type Violation } from "@bufbuild/protovalidate";
import { file_patchbay_options_v1_rules } from "#gen/patchbay/options/v1/rules_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { makeStorable } from "./storable.ts";

/** One for the process: whoever starts the service again in it, as tests do, need not have the rules read again. */
const validator = createValidator({
  registry: createRegistry(file_patchbay_options_v1_rules),
  // The engine of those who read the OpenAPI document. The RE2 engine that would be taken otherwise needs a tenth of
  // a microsecond for each character, and a message may have four million.
  regexMatch: (pattern, text) => new RegExp(pattern, "u").test(text),
});

/** A validator that has already read the rules of these services' requests: the first look takes milliseconds. */
export function createRequestValidator(services: readonly DescService[]): Validator {
  for (const { methods } of services) {
    for (const { input } of methods) validator.validate(input, create(input));
  }
  return validator;
}

/** More would not fit into the headers that carry them, and no person reads them. */
const maxViolations = 10;

/** Throws `InvalidRequest`, naming each field and rule, and never a value. */
export function requireValid(validator: Validator, schema: DescMessage, message: Message): void {
  makeStorable(schema, message);
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return;
  if (result.kind === "error") throw result.error;
  const violations = result.violations.slice(0, maxViolations);
  const [value, desc] = violationsToProto(violations);
  throw new InvalidRequest(violations.map(inWords).join("; "), { details: [{ desc, value }] });
}

/** The next step after a violation, for people. */
function inWords({ field: path, message, forKey }: Violation): string {
  const last = path.at(-1);
  if (last?.kind === "oneof") {
    const names = last.fields.map(({ jsonName }) => jsonName).join(", ");
    return [fieldName(path.slice(0, -1)), `give one of ${names}`].filter(Boolean).join(": ");
  }
  if (forKey) return `${fieldName(path.slice(0, -1))}: each name ${message}`;
  // Where a field may be left out, the empty text leads the list.
  const choices = /^must be in list \[(?:, )?(.*)\]$/.exec(message)?.[1];
  return `${fieldName(path)}: ${choices === undefined ? message : `give one of ${choices}`}`;
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
