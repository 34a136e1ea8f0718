import {
  isMessage,
  type DescField,
  type DescMessage,
  type DescOneof,
  type Message,
} from "@bufbuild/protobuf";
import { TimestampSchema, ValueSchema, type Timestamp } from "@bufbuild/protobuf/wkt";
import { InvalidRequest } from "#src/platform/errors.ts";
import { textOfValue } from "#src/json/json-text.ts";
import { requireSizes } from "./sizes.ts";

/**
 * Refuses what is far too large and what nothing behind a message can hold, and cuts times to the millisecond, which
 * is what dates and the database hold: rounded, a key would live longer than was said. These are rules of no single
 * contract. What came as JSON was looked at already; a binary message comes as it is.
 */
export function makeStorable(desc: DescMessage, message: Message): void {
  settleFields(desc, message, "");
}

function settleFields(desc: DescMessage, message: object, prefix: string): void {
  const values: Readonly<Record<string, unknown>> = { ...message };
  for (const member of desc.members) {
    const value = values[member.localName];
    if (member.kind === "field") settleField(member, value, prefix);
    else settleChoice(member, value, prefix);
  }
}

function settleChoice({ fields }: DescOneof, choice: unknown, prefix: string): void {
  if (typeof choice !== "object" || choice === null || !("case" in choice) || !("value" in choice)) return;
  const field = fields.find(({ localName }) => localName === choice.case);
  if (field !== undefined) settleField(field, choice.value, prefix);
}

function settleField(field: DescField, value: unknown, prefix: string): void {
  const at = prefix + field.jsonName;
  requireSizes(field, value, at);
  if (field.fieldKind === "list" && Array.isArray(value)) {
    for (const [index, item] of value.entries()) settle(field.message, item, `${at}[${index}]`);
  } else if (field.fieldKind === "map" && typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      requireStorable(name, at);
      settle(field.message, item, `${at}.${name.slice(0, 64)}`);
    }
  } else settle(field.message, value, at);
}

/** JSON of the caller's own: nothing in it has a name of ours. */
const freeJson = /^google\.protobuf\.(Struct|Value|ListValue)$/;

function settle(desc: DescMessage | undefined, value: unknown, at: string): void {
  if (isMessage(value, TimestampSchema)) cutTime(value, at);
  // It was looked at when it was read.
  else if (typeof value === "object" && value !== null && textOfValue(value) !== undefined) return;
  else if (desc === undefined || freeJson.test(desc.typeName)) requireStorable(value, at);
  else if (typeof value === "object" && value !== null) settleFields(desc, value, `${at}.`);
  else requireStorable(value, at);
}

function requireStorable(value: unknown, at: string): void {
  if (typeof value === "string" && value.includes("\0")) {
    throw new InvalidRequest(`${at}: must not contain NUL characters`);
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new InvalidRequest(`${at}: must be a finite number`);
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  if (isMessage(value, ValueSchema) && value.kind.case === undefined) {
    throw new InvalidRequest(`${at}: must have a value`);
  }
  for (const [name, member] of Object.entries(value)) {
    requireStorable(name, at);
    requireStorable(member, at);
  }
}

const firstSecond = BigInt(Date.parse("0001-01-01T00:00:00Z") / 1000);
const lastSecond = BigInt(Date.parse("9999-12-31T23:59:59Z") / 1000);
const nanosPerMillisecond = 1_000_000;

/** The range is the one that the type documents, and JSON can write. */
function cutTime(time: Timestamp, at: string): void {
  const { seconds, nanos } = time;
  if (seconds < firstSecond || seconds > lastSecond || nanos < 0 || nanos > 999_999_999) {
    throw new InvalidRequest(`${at}: must be a time between the years 1 and 9999`);
  }
  time.nanos = nanos - (nanos % nanosPerMillisecond);
}
