import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  parseDocument,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
} from "yaml";
import { isObject } from "#src/json/object.ts";
import type { Budget } from "./budget.ts";
import { ImportRefused } from "#src/operations/import/errors.ts";
import { limits } from "../limits.ts";
import { below, stepsOf } from "../pointer.ts";
import { reservedName, reservedReason } from "./reserved-name.ts";

/** What a text in YAML says. */
export interface ParsedYaml {
  readonly value: JsonValue;
  readonly linesOf: (pointers: ReadonlySet<string>) => ReadonlyMap<string, number>;
}

/** Reads YAML as JSON, its aliases written out within the budget. Throws ImportRefused. */
export function parseYaml(text: string, budget: Budget, ignored: Map<string, string>): ParsedYaml {
  const lines = new LineCounter();
  const root = composed(text, lines);
  const anchors = new Map<string, Node>();
  const open = new Set<Node>();
  const pairOf = createPairOf();

  function valueOf(node: unknown, depth: number, pointer: string): JsonValue {
    if (isAlias(node)) return valueOf(targetOf(node.source), depth, pointer);
    if (isScalar(node)) return scalarOf(node, depth);
    if (!isMap(node) && !isSeq(node)) return scalarOf(undefined, depth);
    if (node.anchor !== undefined) anchors.set(node.anchor, node);
    budget.takeValue(depth);
    open.add(node);
    const value = isSeq(node)
      ? node.items.map((item, index) => valueOf(item, depth + 1, below(pointer, index)))
      : objectOf(node.items, depth, pointer);
    open.delete(node);
    return value;
  }

  function scalarOf(scalar: Scalar | undefined, depth: number): JsonValue {
    if (scalar?.anchor !== undefined) anchors.set(scalar.anchor, scalar as Node);
    const value = jsonOf(scalar);
    budget.takeValue(depth, typeof value === "string" ? value.length : 0);
    return value;
  }

  function targetOf(anchor: string): Node {
    const node = anchors.get(anchor);
    if (node === undefined)
      throw new ImportRefused(`the document has no anchor &${anchor} before *${anchor}`);
    if (open.has(node)) throw new ImportRefused(`the document's alias *${anchor} is in what it stands for`);
    return node;
  }

  function objectOf(pairs: readonly Pair[], depth: number, pointer: string): JsonObject {
    const members = new Map<string, JsonValue>();
    const merged: JsonObject[] = [];
    for (const { key, value } of pairs) {
      const name = nameOf(key);
      if (name === "<<") {
        merged.push(...[valueOf(value, depth, pointer)].flat().filter(isObject));
        continue;
      }
      const place = below(pointer, name);
      if (name === reservedName) ignored.set(place, reservedReason);
      if (name === reservedName) continue;
      if (members.has(name)) ignored.set(place, "is there twice; the last one counts");
      budget.takeName(name);
      members.set(name, valueOf(value, depth + 1, place));
    }
    return Object.assign({}, ...merged.toReversed(), Object.fromEntries(members)) as JsonObject;
  }

  return {
    value: valueOf(root, 0, ""),
    linesOf: (pointers) =>
      new Map(
        [...pointers].flatMap((pointer) => {
          const offset = offsetOf(root, stepsOf(pointer), anchors, pairOf);
          return offset === undefined ? [] : [[pointer, lines.linePos(offset).line]];
        }),
      ),
  };
}

/** As deep as lists and objects in brackets may be: what is read takes memory and stack for each. */
const maxOpen = 200;
/** A value has some five. */
const maxTokens = 12 * limits.nodes;

/** Refuses what would take too much to read, before any of it is kept. */
function requireModest(text: string): void {
  let open = 0;
  let tokens = 0;
  for (const token of new Lexer().lex(text)) {
    tokens += 1;
    if (token === "[" || token === "{") open += 1;
    if (token === "]" || token === "}") open -= 1;
    if (open > maxOpen) throw new ImportRefused(`the document is nested deeper than ${limits.depth} levels`);
    if (tokens > maxTokens) throw new ImportRefused(`the document has more than ${limits.nodes} values`);
  }
}

function composed(text: string, lineCounter: LineCounter): Node | null {
  requireModest(text);
  try {
    // Whether keys are unique is found in time that grows with the square of their number.
    const parsed = parseDocument(text, {
      lineCounter,
      uniqueKeys: false,
      prettyErrors: false,
      schema: "core",
    });
    const [error] = parsed.errors;
    if (error === undefined) return parsed.contents;
    if (error.code === "RESOURCE_EXHAUSTION") throw new RangeError(error.message);
    const { line, col } = lineCounter.linePos(error.pos[0]);
    throw new ImportRefused(`the document is neither JSON nor YAML: line ${line}, column ${col}: ${error.message.slice(0, 200)}`); // prettier-ignore
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ImportRefused("the document is nested too deeply", { cause: error });
  }
}

/** What JSON has no number for, and what a tag makes of a text, is the text. */
function jsonOf(scalar: Scalar | undefined): JsonValue {
  const value = scalar?.value ?? null;
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  return typeof value === "number" && Number.isFinite(value) ? value : (scalar?.source ?? null);
}

/** As it is written: `200` and `1.0` are names here. */
function nameOf(key: unknown): string {
  if (!isScalar(key)) return "";
  return typeof key.value === "string" ? key.value : (key.source ?? "");
}

/** Where the node is, or the last one on the way to it that is there. */
function offsetOf(
  root: unknown,
  steps: readonly string[],
  anchors: ReadonlyMap<string, Node>,
  pairOf: (map: YAMLMap, name: string) => Pair | undefined,
): number | undefined {
  let node = root;
  let offset = startOf(root);
  for (const step of steps) {
    const here: unknown = isAlias(node) ? anchors.get(node.source) : node;
    if (isSeq(here)) {
      node = here.items[Number(step)];
      offset = startOf(node) ?? offset;
    } else if (isMap(here)) {
      const pair = pairOf(here, step);
      if (pair === undefined) return offset;
      node = pair.value;
      offset = startOf(pair.key) ?? offset;
    }
  }
  return offset;
}

/** Finds the last pair of a name, and looks through each map once. */
function createPairOf(): (map: YAMLMap, name: string) => Pair | undefined {
  const known = new Map<YAMLMap, ReadonlyMap<string, Pair>>();
  return (map, name) => {
    const pairs =
      known.get(map) ?? new Map(map.items.map((pair): [string, Pair] => [nameOf(pair.key), pair]));
    known.set(map, pairs);
    return pairs.get(name);
  };
}

function startOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
}
