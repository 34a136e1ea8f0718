import { isUtf8 } from "node:buffer";
import type { NewEvent } from "#src/eventlog/event.ts";
import { openBracket } from "#src/platform/ascii.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import { isAttribute, isTime, longestAttribute } from "../attributes.ts";
import { receiptKey } from "../cloudevents.ts";
import { findPlaces, wantedPlaces } from "../json-places.ts";
import { itemsOf, NotJson, scalarAt } from "../json-spans.ts";
import { SourceFailure } from "./failure.ts";
import type { PollConfig } from "./source.ts";

/** An item of a list, as the event that it becomes. */
export interface Item {
  readonly event: NewEvent;
  /** What it is known again by. */
  readonly key: Buffer;
  /** What the next turn may go on behind. */
  readonly cursor: string | undefined;
}

/** A page of a list, in the order in which its items happened. */
export interface Page {
  readonly items: readonly Item[];
  /** What the page itself says of the one behind it. */
  readonly next: string | undefined;
}

/** An item is one event. */
const maxItemBytes = 1024 * 1024;
/** What a request is to have, and is remembered for that. */
const longestPlace = 4096;

/** Reads a page, in turns with the rest of the event loop. Throws SourceFailure with what is wrong with it. */
export async function readPage(body: Buffer, config: PollConfig, source: string): Promise<Page> {
  if (!isUtf8(body)) throw new SourceFailure("the answer is not UTF-8");
  try {
    return await inTurns(pageFrom(body, config, source));
  } catch (error) {
    if (error instanceof NotJson) throw new SourceFailure("the answer is not JSON that can be read");
    throw error;
  }
}

function* pageFrom(body: Buffer, config: PollConfig, source: string): LongWork<Page> {
  const nextAt = config.next?.by === "pointer" ? [config.next.pointer] : [];
  const places = yield* findPlaces(body, wantedPlaces([config.items, ...nextAt]));
  const list = places.findLast(({ wanted }) => wanted === config.items);
  if (list === undefined || body[list.start] !== openBracket) {
    throw new SourceFailure(`the answer has no list at ${shown(config.items)}`);
  }
  const read = itemReader(config, source);
  const items: Item[] = [];
  for (const { start, end } of yield* itemsOf(body, list)) {
    items.push(yield* read(body.subarray(start, end), items.length));
    if (items.length % itemsInTurn === 0) yield;
  }
  if (config.order === "descending") items.reverse();
  const next = places.findLast(({ wanted }) => wanted === nextAt[0]);
  return { items, next: placeIn(next && scalarAt(body, next), `the page has at ${nextAt[0]}`) };
}

/** A cursor or a next page, as a request can have it; undefined if there is none. */
function placeIn(text: string | undefined, where: string): string | undefined {
  if (text === undefined || text === "") return undefined;
  if (isAttribute(text) && text.length <= longestPlace) return text;
  throw new SourceFailure(
    `${where} what no request can have: more than ${longestPlace} characters, control characters or broken Unicode`,
  );
}

/** Read in about a millisecond. */
const itemsInTurn = 100;

function itemReader(config: PollConfig, source: string): (item: Buffer, index: number) => LongWork<Item> {
  const { id: idAt, type: typeAt, time: timeAt, cursor: cursorAt } = config;
  const pointers = [idAt, typeAt, timeAt, cursorAt].filter((pointer) => pointer !== undefined);
  const wanted = wantedPlaces(pointers);
  return function* read(item, index) {
    if (item.length > maxItemBytes) {
      throw new SourceFailure(
        `item ${index} of the page is longer than 1 MiB, which is the most of an event`,
      );
    }
    const places = yield* findPlaces(item, wanted);
    const textAt = (pointer: string | undefined) => {
      const place = pointer && places.findLast((one) => one.wanted === pointer);
      return place ? scalarAt(item, place) : undefined;
    };
    const [id, time] = [textAt(idAt), textAt(timeAt)];
    if (id === undefined || !isAttribute(id) || id.length > longestAttribute) {
      throw new SourceFailure(
        `item ${index} of the page has no id at ${shown(idAt)}: a text of at most ${longestAttribute} characters, or a number`,
      );
    }
    return {
      key: receiptKey(id),
      cursor: placeIn(textAt(cursorAt), `item ${index} of the page has at ${cursorAt}`),
      event: {
        ...{ id, source, extensions: {}, verified: "connection" },
        type: typeOf(textAt(typeAt), config.defaultType),
        ...(time !== undefined && isTime(time) && { time }),
        contentType: "application/json",
        data: Buffer.from(item),
      },
    };
  };
}

/** A type that can be selected by; the other one for what cannot. */
export function typeOf(given: string | undefined, otherwise: string): string {
  return given !== undefined && isAttribute(given) && given.length <= 256 ? given : otherwise;
}

function shown(pointer: string): string {
  return pointer === "" ? "its top" : pointer;
}
