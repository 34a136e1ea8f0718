import { create, isMessage, type DescMessage, type DescService, type Message } from "@bufbuild/protobuf";
import { TimestampSchema, ValueSchema, type Timestamp } from "@bufbuild/protobuf/wkt";
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

/** More would not fit into the headers that carry them, and nobody reads them. */
const maxViolations = 10;

/** Throws `InvalidRequest`, naming each field and rule, and never a value. */
export function requireValid(validator: Validator, schema: DescMessage, message: Message): void {
  refuseUnstorable(message, "");
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return;
  if (result.kind === "error") throw result.error;
  const violations = result.violations.slice(0, maxViolations);
  const texts = violations.map((violation) => `${fieldName(violation.field)}: ${violation.message}`);
  const [value, desc] = violationsToProto(violations);
  throw new InvalidRequest(texts.join("; "), { details: [{ desc, value }] });
}

/**
 * Refuses values that a message can hold and nothing behind it can: their rules are those of no single
 * contract. What came as JSON was looked at already; a binary message comes as it is.
 */
function refuseUnstorable(value: unknown, at: string): void {
  if (typeof value === "string" && value.includes("\0")) {
    throw new InvalidRequest(`${at}: must not contain NUL characters`);
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new InvalidRequest(`${at}: must be a finite number`);
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  if (isMessage(value, TimestampSchema)) return requireCalendarTime(value, at);
  if (isMessage(value, ValueSchema) && value.kind.case === undefined) {
    throw new InvalidRequest(`${at}: must have a value`);
  }
  for (const [name, member] of Object.entries(value)) {
    const path = at === "" ? name : `${at}.${name.slice(0, 64)}`;
    refuseUnstorable(name, at);
    refuseUnstorable(member, path);
  }
}

const firstSecond = BigInt(Date.parse("0001-01-01T00:00:00Z") / 1000);
const lastSecond = BigInt(Date.parse("9999-12-31T23:59:59Z") / 1000);

/** The range that the type documents, and JSON can write. */
function requireCalendarTime({ seconds, nanos }: Timestamp, at: string): void {
  if (seconds < firstSecond || seconds > lastSecond || nanos < 0 || nanos > 999_999_999) {
    throw new InvalidRequest(`${at}: must be a time between the years 1 and 9999`);
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
