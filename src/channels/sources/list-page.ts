import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { NewEvent } from "#src/eventlog/event.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { SourceFailure } from "./failure.ts";
import { findPlaces, textAt, tokensOf } from "./json-places.ts";
import type { PollConfig } from "./source.ts";

/** An item of a list, as the event that it becomes. */
export interface Item {
  readonly event: NewEvent;
  /** The first 16 bytes of the SHA-256 of its id. */
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
const maxItemChars = 1024 * 1024;
const maxIdChars = 1024;

/** Reads a page. Throws SourceFailure with what is wrong with it. */
export async function readPage(body: Buffer, config: PollConfig, source: string): Promise<Page> {
  const pointer = config.next?.by === "pointer" ? config.next.pointer : undefined;
  const { elements, value } = await findPlaces(textOf(body), config.items, pointer).catch(explain);
  if (elements === undefined) throw new SourceFailure(`the answer has no list at ${shown(config.items)}`);
  const read = itemReader(config, source);
  const items: Item[] = [];
  let sinceTurn = 0;
  for (const [index, element] of elements.entries()) {
    items.push(read(element, index));
    sinceTurn += element.length;
    if (sinceTurn < turnChars) continue;
    sinceTurn = 0;
    await nextTurn();
  }
  if (config.order === "descending") items.reverse();
  const next = value === undefined ? undefined : textAt(JSON.parse(value), []);
  return { items, next: next === "" ? undefined : next };
}

/** Read in about a millisecond. */
const turnChars = 128 * 1024;

function itemReader(config: PollConfig, source: string): (element: string, index: number) => Item {
  const [idAt, typeAt, timeAt, cursorAt] = [config.id, config.type, config.time, config.cursor].map(
    (pointer) => (pointer === undefined ? undefined : tokensOf(pointer)),
  );
  return (element, index) => {
    if (element.length > maxItemChars) {
      throw new SourceFailure(
        `item ${index} of the page is longer than 1 MiB, which is the most of an event`,
      );
    }
    const json: unknown = JSON.parse(element);
    const id = textAt(json, idAt);
    if (id === undefined || id === "" || id.length > maxIdChars || /\0/.test(id)) {
      throw new SourceFailure(
        `item ${index} of the page has no id at ${shown(config.id)}: a text of at most ${maxIdChars} characters, or a number`,
      );
    }
    const time = textAt(json, timeAt);
    return {
      key: createHash("sha256").update(id).digest().subarray(0, 16),
      cursor: textAt(json, cursorAt),
      event: {
        id,
        source,
        type: typeOf(textAt(json, typeAt), config.defaultType),
        ...(time !== undefined && isTime(time) && { time }),
        contentType: "application/json",
        extensions: {},
        verified: "connection",
        data: Buffer.from(element),
      },
    };
  };
}

/** A type that can be selected by; the other one for what cannot. */
export function typeOf(given: string | undefined, otherwise: string): string {
  return given !== undefined && /^[^\p{Cc}\p{Cs}]{1,256}$/u.test(given) ? given : otherwise;
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/.test(text);
}

function textOf(body: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new SourceFailure("the answer is not UTF-8");
  }
}

function explain(error: unknown): never {
  if (error instanceof InvalidRequest)
    throw new SourceFailure(`the answer is not JSON that can be read: ${error.message}`);
  throw error;
}

function shown(pointer: string): string {
  return pointer === "" ? "its top" : pointer;
}
