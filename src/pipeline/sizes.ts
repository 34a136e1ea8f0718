import { getOption, type DescField } from "@bufbuild/protobuf";
import {
  field as rulesOption,
  ViolationsSchema,
  type FieldRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";

/** How large a field may be by its rules. Infinity where they say nothing. */
interface Sizes {
  /** Items of a list, or pairs of a map. */
  readonly entries: number;
  /** Characters of the text, or of each. */
  readonly text: number;
  /** Characters of each name in a map. */
  readonly names: number;
}

const known = new WeakMap<DescField, Sizes>();

/**
 * Refuses a list or map with too many entries, and a text that is far too long, before any other rule looks at all
 * that is in them: a message may be four million characters, or hundreds of thousands of names. In the words of the
 * rules themselves.
 */
export function requireSizes(field: DescField, value: unknown, at: string): void {
  const { entries, text, names } = sizesOf(field);
  if (field.fieldKind === "list" && Array.isArray(value)) {
    if (value.length > entries) {
      throw tooLarge(`${at}: `, "repeated.max_items", `must contain no more than ${entries} item(s)`);
    }
    for (const [index, item] of value.entries()) requireLength(item, text, `${at}[${index}]: `);
  } else if (field.fieldKind === "map" && typeof value === "object" && value !== null) {
    if (Object.keys(value).length > entries) {
      throw tooLarge(`${at}: `, "map.max_pairs", `map must be at most ${entries} entries`);
    }
    for (const [name, member] of Object.entries(value)) {
      requireLength(name, names, `${at}: each name `);
      requireLength(member, text, `${at}[…]: `);
    }
  } else requireLength(value, text, `${at}: `);
}

/** Counted in code units, of which a character is at most two: what is close to the limit is left to its rule. */
function requireLength(value: unknown, most: number, where: string): void {
  if (typeof value !== "string" || value.length <= 2 * most) return;
  throw tooLarge(where, "string.max_len", `must be at most ${most} characters`);
}

function tooLarge(where: string, ruleId: string, message: string): InvalidRequest {
  const violations = { desc: ViolationsSchema, value: { violations: [{ ruleId, message }] } };
  return new InvalidRequest(where + message, { details: [violations] });
}

function sizesOf(field: DescField): Sizes {
  const sizes = known.get(field) ?? readSizes(getOption(field, rulesOption));
  known.set(field, sizes);
  return sizes;
}

function readSizes({ type }: FieldRules): Sizes {
  switch (type.case) {
    case "repeated":
      return { entries: limit(type.value.maxItems), text: lengthOf(type.value.items), names: Infinity };
    case "map":
      return {
        entries: limit(type.value.maxPairs),
        text: lengthOf(type.value.values),
        names: lengthOf(type.value.keys),
      };
    case "string":
      return { entries: Infinity, text: limit(type.value.maxLen), names: Infinity };
    default:
      return { entries: Infinity, text: Infinity, names: Infinity };
  }
}

function lengthOf(rules: FieldRules | undefined): number {
  return rules?.type.case === "string" ? limit(rules.type.value.maxLen) : Infinity;
}

/** Zero is what stands for no limit. */
function limit(most: bigint): number {
  return Number(most) || Infinity;
}
