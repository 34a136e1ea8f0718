import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { matchBranches } from "./branches.ts";
import { differencesOf, type Difference, type Direction } from "./keywords.ts";
import { resolve, type FindDefinition } from "./references.ts";
import { schemasIn } from "./schemas-in.ts";

/** Two schemas that are compared, and what was found. The ones within them are pairs of their own. */
export interface Pair {
  readonly before: JsonValue;
  readonly after: JsonValue;
  readonly direction: Direction;
  differences: readonly Difference[];
  within: readonly Within[];
}

/** A pair within another. */
export interface Within {
  /** Where it is there: a member's name, `[]` for items, or empty for what is about the same value. */
  readonly step: string;
  readonly pair: Pair;
}

/** More than the largest known documents have, and few enough for the memory and time of an import. */
const mostPairs = 200_000;
/** Of all pairs together, in members, items and sixteens of characters. */
const mostWork = 1_000_000;

const tooMany: readonly Difference[] = [
  { step: "", text: "is described by too many schemas to compare", breaking: true },
];

/**
 * Compares schemas: each definition with each that it meets once, as they refer to each other in circles and fan out
 * without end.
 */
export class SchemaPairs {
  readonly #find: { readonly before: FindDefinition; readonly after: FindDefinition };
  readonly #all: Pair[] = [];
  readonly #ofDefinitions = new Map<JsonValue, Map<JsonValue, Partial<Record<Direction, Pair>>>>();
  readonly #containers = new Map<Pair, Pair[]>();
  #compared = 0;
  #work = 0;

  constructor(before: FindDefinition, after: FindDefinition) {
    this.#find = { before, after };
  }

  /** The pair of the two, which `compare` compares. */
  add(before: JsonValue, after: JsonValue, direction: Direction): Pair {
    const was = resolve(before, this.#find.before);
    const is = resolve(after, this.#find.after);
    // What is written out in a schema is met nowhere else.
    if (was === before && is === after) return this.#create(was, is, direction);
    const others = this.#ofDefinitions.get(was) ?? new Map<JsonValue, Partial<Record<Direction, Pair>>>();
    this.#ofDefinitions.set(was, others);
    const known = others.get(is) ?? {};
    others.set(is, known);
    return (known[direction] ??= this.#create(was, is, direction));
  }

  /** Compares all that were added, and those within them. */
  compare(): void {
    for (; this.#compared < this.#all.length; this.#compared++) {
      const pair = this.#all[this.#compared];
      if (pair !== undefined) this.#comparePair(pair);
    }
  }

  /** The pairs in which, or within which, there is a difference of that kind. */
  reaching(isWanted: (difference: Difference) => boolean): ReadonlySet<Pair> {
    const found = new Set(this.#all.filter(({ differences }) => differences.some(isWanted)));
    // A set goes on with what is added meanwhile.
    for (const pair of found) for (const container of this.#containers.get(pair) ?? []) found.add(container);
    return found;
  }

  #create(before: JsonValue, after: JsonValue, direction: Direction): Pair {
    const pair: Pair = { before, after, direction, differences: [], within: [] };
    this.#all.push(pair);
    return pair;
  }

  #comparePair(pair: Pair): void {
    const { before, after, direction } = pair;
    if (before === false || after === false) {
      pair.differences = ofNothing(before, after, direction);
      return;
    }
    const [was, is] = [isObject(before) ? before : {}, isObject(after) ? after : {}];
    this.#work += workOf(was) + workOf(is);
    if (this.#work > mostWork) {
      pair.differences = tooMany;
      return;
    }
    const { isAll, pairs, differences } = matchBranches(was, is, direction);
    pair.differences = isAll ? differences : [...differencesOf(was, is, direction), ...differences];
    const inner = isAll ? pairs : [...schemasIn(was, is, direction), ...pairs];
    if (this.#all.length + inner.length > mostPairs) {
      pair.differences = tooMany;
      return;
    }
    pair.within = inner.map((one) => ({
      step: one.step,
      pair: this.add(one.before, one.after, one.direction),
    }));
    for (const { pair: within } of pair.within) {
      const containers = this.#containers.get(within) ?? [];
      this.#containers.set(within, containers);
      containers.push(pair);
    }
  }
}

const works = new WeakMap<JsonObject, number>();

/** How long it takes to look through the schema, without those within it: a large one may be met often. */
function workOf(schema: JsonObject): number {
  const known = works.get(schema);
  if (known !== undefined) return known;
  const work = Object.entries(schema).reduce((sum, [keyword, value]) => {
    if (plain.has(keyword) || typeof value === "string") return sum + JSON.stringify(value).length / 16;
    return sum + (typeof value === "object" && value !== null ? Object.keys(value).length : 1);
  }, 1);
  works.set(schema, work);
  return work;
}

/** Keywords whose values are no schemas. */
const plain = new Set(["const", "default", "enum", "required", "dependentRequired"]);

function ofNothing(before: JsonValue, after: JsonValue, direction: Direction): Difference[] {
  if (before === after) return [];
  return after === false
    ? [{ step: "", text: "is not allowed now", breaking: direction !== "output" }]
    : [{ step: "", text: "is allowed now", breaking: direction === "exact" }];
}
