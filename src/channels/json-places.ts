import { closeBrace, closeBracket, comma, openBrace, openBracket } from "#src/platform/ascii.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import { mostValues, NotJson, SpanReader, type Span } from "./json-spans.ts";

/** A value that a pointer leads to. */
export interface PlacedValue extends Span {
  /** The pointer that was looked for, in which `*` may stand for each item of a list. */
  readonly wanted: string;
}

/** What is looked for, by the names and numbers on the way to it. */
export interface WantedPlaces {
  readonly children: ReadonlyMap<string, WantedPlaces>;
  /** The pointer that ends here. */
  readonly wanted: string | undefined;
}

interface Growing {
  readonly children: Map<string, Growing>;
  wanted: string | undefined;
}

/** Prepares to look for all of these pointers in one reading. */
export function wantedPlaces(pointers: readonly string[]): WantedPlaces {
  const root: Growing = { children: new Map(), wanted: undefined };
  for (const pointer of pointers) {
    let node = root;
    for (const step of pointer.split("/").slice(1)) {
      const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
      const child = node.children.get(name) ?? { children: new Map(), wanted: undefined };
      node.children.set(name, child);
      node = child;
    }
    node.wanted = pointer;
  }
  return root;
}

/**
 * The values that the pointers lead to, in the order in which they stand there; all of them, where an object has two
 * members of one name. Throws NotJson.
 */
export function* findPlaces(bytes: Buffer, wanted: WantedPlaces): LongWork<PlacedValue[]> {
  const reader = new SpanReader(bytes);
  const found: PlacedValue[] = [];
  yield* walk(reader, [wanted], found);
  reader.end();
  return found;
}

/** The same, in turns with the rest of the event loop; undefined if the bytes are no JSON. */
export async function placesIn(
  bytes: Buffer,
  wanted: WantedPlaces,
): Promise<readonly PlacedValue[] | undefined> {
  try {
    return await inTurns(findPlaces(bytes, wanted));
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

function* walk(reader: SpanReader, nodes: readonly WantedPlaces[], found: PlacedValue[]): LongWork<void> {
  const code = reader.peek();
  const start = reader.at;
  if (reader.isLong()) yield;
  const leadsOn = nodes.some(({ children }) => children.size > 0);
  if (leadsOn && code === openBrace) yield* walkMembers(reader, nodes, found);
  else if (leadsOn && code === openBracket) yield* walkItems(reader, nodes, found);
  else yield* reader.pass();
  for (const { wanted } of nodes) {
    if (wanted === undefined) continue;
    if (found.push({ wanted, start, end: reader.at }) > mostValues) throw new NotJson();
  }
}

function* walkMembers(
  reader: SpanReader,
  nodes: readonly WantedPlaces[],
  found: PlacedValue[],
): LongWork<void> {
  reader.take(openBrace);
  if (reader.takes(closeBrace)) return;
  do {
    const name = yield* reader.name();
    const next = childrenOf(nodes, name);
    if (next.length === 0) yield* reader.pass();
    else yield* walk(reader, next, found);
  } while (reader.takes(comma));
  reader.take(closeBrace);
}

function* walkItems(
  reader: SpanReader,
  nodes: readonly WantedPlaces[],
  found: PlacedValue[],
): LongWork<void> {
  reader.take(openBracket);
  if (reader.takes(closeBracket)) return;
  const each = childrenOf(nodes, "*");
  let index = 0;
  do {
    const next = [...childrenOf(nodes, String(index)), ...each];
    if (next.length === 0) yield* reader.pass();
    else yield* walk(reader, next, found);
    index += 1;
  } while (reader.takes(comma));
  reader.take(closeBracket);
}

function childrenOf(nodes: readonly WantedPlaces[], name: string): WantedPlaces[] {
  return nodes.flatMap(({ children }) => children.get(name) ?? []);
}
