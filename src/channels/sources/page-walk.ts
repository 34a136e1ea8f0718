import type { OutboundReply } from "#src/outbound/outbound.ts";
import { retryAfterMs } from "#src/calls/retry.ts";
import { SourceFailure } from "./failure.ts";
import { readPage, type Item } from "./list-page.ts";
import { firstPage, nextPage, usesCursor } from "./list-url.ts";
import { Marks } from "./marks.ts";
import type { PollPosition, Validators } from "./position.ts";
import type { PollConfig } from "./source.ts";

const maxIdleTurns = 10;

/** The pages that are read one after another, and what is found on them. */
export class PageWalk {
  /** Whether it begins with this turn. */
  readonly isNew: boolean;
  /** The one to read next. */
  page: string;
  isOver = false;
  /** Whether the list can be asked at once for what is behind the newest item. */
  hasMoreBehindCursor = false;
  items = 0;
  bytes = 0;
  readonly #config: PollConfig;
  readonly #before: PollPosition;
  readonly #baseUrl: string;
  readonly #seen: Marks;
  readonly #passed: Marks;
  #found: Item[] = [];
  readonly #asked = new Set<string>();
  #pages = 0;
  /** How many turns came by nothing that was not passed before, this one included as long as it did not. */
  #idleTurns: number;
  #isGivenUp = false;
  #meetsSeen: boolean;
  #newest: string | undefined;

  constructor(config: PollConfig, before: PollPosition, baseUrl: string) {
    const { walk } = before;
    this.#config = config;
    this.#before = before;
    this.#baseUrl = baseUrl;
    this.isNew = walk === undefined;
    this.page = walk?.next ?? firstPage(config, before.cursor);
    this.#seen = new Marks(before.seen);
    this.#passed = new Marks(walk?.seen);
    this.#meetsSeen = walk?.meetsSeen ?? false;
    this.#newest = walk?.newest;
    this.#idleTurns = (walk?.idleTurns ?? 0) + 1;
  }

  /** The events to store, the oldest first. In a first turn that begins now, there are none. */
  get found(): readonly Item[] {
    return this.#onlyNotes ? [] : this.#found;
  }

  /** Whether it is over, and came by nothing that it knows, though there was something to know. */
  get mayHaveMissed(): boolean {
    const isShown = usesCursor(this.#config) || this.#meetsSeen;
    return this.#isGivenUp || (this.isOver && !isShown && this.#seen.size > 0 && this.#passed.size > 0);
  }

  get #onlyNotes(): boolean {
    return this.#config.start === "now" && this.#before.readUntil === undefined;
  }

  /** Takes what the server answered for the page. Throws SourceFailure. */
  async pass(reply: OutboundReply, origin: string, now: Date): Promise<void> {
    requireList(reply, now);
    const page = reply.status === 204 ? noItems : await readPage(reply.body, this.#config, origin);
    const passed = this.#passed.size;
    this.#asked.add(this.page);
    const fresh: Item[] = [];
    for (const item of page.items) {
      if (this.#seen.has(item.key)) this.#meetsSeen = true;
      else if (!this.#passed.has(item.key)) fresh.push(item);
      this.#passed.add(item.key);
    }
    const isAscending = this.#config.order === "ascending";
    this.#found = isAscending ? [...this.#found, ...fresh] : [...fresh, ...this.#found];
    const newest = page.items.findLast(({ cursor }) => cursor !== undefined)?.cursor;
    this.#newest = isAscending ? (newest ?? this.#newest) : (this.#newest ?? newest);
    this.items += page.items.length;
    this.bytes += reply.body.length;
    this.#pages++;
    if (this.#passed.size > passed) this.#idleTurns = 0;
    const answered = { link: reply.headers["link"], next: page.next };
    const next = nextPage(this.#config, answered, this.page, this.#baseUrl);
    // A page with nothing new may only have been pushed on by what was added meanwhile; one twice is a circle.
    this.isOver = next === undefined || this.#asked.has(next) || this.#hasEnough;
    if (next !== undefined) this.page = next;
    this.hasMoreBehindCursor = isAscending && this.#namesCursorAlone && fresh.length > 0 && this.#hasMoved;
  }

  get #namesCursorAlone(): boolean {
    return this.#config.next === undefined && usesCursor(this.#config);
  }

  get #hasMoved(): boolean {
    return this.#newest !== undefined && this.#newest !== this.#before.cursor;
  }

  /** Behind what is known already, a list that begins with its newest has nothing new. */
  get #hasEnough(): boolean {
    const { order } = this.#config;
    return order === "descending" && !usesCursor(this.#config) && (this.#meetsSeen || this.#onlyNotes);
  }

  /** Ends it if its pages lead nowhere. Some that bring nothing are usual: a list that grows pushes its items on. */
  giveUpIfEndless(): void {
    if (this.isOver || this.#idleTurns < maxIdleTurns) return;
    this.isOver = true;
    this.#isGivenUp = true;
  }

  /** Where the list stands once what was found is stored. */
  positionNow(now: Date, validators: Validators | undefined): PollPosition {
    const { cursor, seen, readUntil } = this.#before;
    const newest = this.#newest === undefined ? {} : { newest: this.#newest };
    if (!this.isOver) {
      const walk = {
        next: this.page,
        seen: String(this.#passed),
        meetsSeen: this.#meetsSeen,
        idleTurns: this.#idleTurns,
        ...newest,
      };
      return {
        ...(cursor !== undefined && { cursor }),
        seen,
        ...(readUntil !== undefined && { readUntil }),
        walk,
      };
    }
    const last = this.#newest ?? cursor;
    // Of several pages with the oldest first, the first one stays the same while others come.
    const speaksForAll = this.isNew && (this.#pages === 1 || this.#config.order === "descending");
    return {
      ...(last !== undefined && { cursor: last }),
      seen: this.#passed.size === 0 && usesCursor(this.#config) ? seen : String(this.#passed),
      // Behind the cursor there is more of what is only noted.
      ...(!(this.#onlyNotes && this.hasMoreBehindCursor) && { readUntil: now.toISOString() }),
      ...(speaksForAll && validators && { validators }),
    };
  }
}

const noItems = { items: [], next: undefined };

function requireList({ status, headers }: OutboundReply, now: Date): void {
  if (status === 200 || status === 204) return;
  const isElsewhere = status >= 300 && status < 400 && status !== 304;
  const next = isElsewhere ? "; redirects are not followed, so name the address that it leads to" : "";
  throw new SourceFailure(`the server answered ${status}${next}`, retryAfterMs(headers["retry-after"], now));
}
