import { create, isMessage, type DescMessage, type Message } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { isPlainStruct } from "#src/json/field-writers.ts";
import { textOfStruct } from "#src/json/json-text.ts";
import { structFieldBinary } from "#src/json/value-binary.ts";
import type { LongWork } from "#src/platform/in-turns.ts";

/** So much JSON takes a few milliseconds. */
const turnLength = 32 * 1024;

const known = new WeakMap<DescMessage, boolean>();

/** Whether messages of the type, or those in them, have fields that hold JSON objects. */
export function leadsToStruct(desc: DescMessage): boolean {
  const found = known.get(desc) ?? leadsThrough(desc, new Set());
  known.set(desc, found);
  return found;
}

/** A type may contain itself. */
function leadsThrough(desc: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(desc)) return false;
  seen.add(desc);
  return desc.fields.some(
    (field) => isPlainStruct(field) || (field.message !== undefined && leadsThrough(field.message, seen)),
  );
}

/**
 * The message with each JSON object that was not parsed as bytes, which `toBinary` copies. There may be megabytes of
 * them, in messages inside messages.
 */
export function* withStructsWritten(
  desc: DescMessage,
  message: Message,
  turn = { left: turnLength },
): LongWork<Message> {
  const members = message as unknown as Readonly<Record<string, unknown>>;
  const changes: Record<string, unknown> = {};
  const written: NonNullable<Message["$unknown"]> = [];
  for (const field of desc.fields) {
    const { number: no, localName, message: type, oneof } = field;
    const value = oneof === undefined ? members[localName] : undefined;
    if (type === undefined || value === undefined) continue;
    const text = isPlainStruct(field) && isObject(value) ? textOfStruct(value) : undefined;
    if (text !== undefined) {
      written.push({ no, wireType: WireType.LengthDelimited, data: yield* structFieldBinary(text) });
      changes[localName] = undefined;
      // Most are too short for a turn of their own, and there may be a thousand of them.
      turn.left -= text.length;
      if (turn.left > 0) continue;
      yield;
      turn.left = turnLength;
    } else if (leadsToStruct(type) && Array.isArray(value)) {
      const items: Message[] = [];
      for (const item of value as Message[]) items.push(yield* withStructsWritten(type, item, turn));
      changes[localName] = items;
    } else if (leadsToStruct(type) && isMessage(value, type)) {
      changes[localName] = yield* withStructsWritten(type, value, turn);
    }
  }
  return Object.assign(create(desc), message, changes, written.length > 0 && { $unknown: written });
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
