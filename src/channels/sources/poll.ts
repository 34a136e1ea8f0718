import { retryAfterMs } from "#src/calls/retry.ts";
import type { OutboundReply } from "#src/outbound/outbound.ts";
import { SourceFailure } from "./failure.ts";
import { readPage, type Item, type Page } from "./list-page.ts";
import { firstPage, nextPage, requestOf, usesCursor } from "./list-url.ts";
import { Marks } from "./marks.ts";
import type { PollPosition, Validators } from "./position.ts";
import type { Reading } from "./reading.ts";
import type { ClaimedSource, Outcome, PollConfig } from "./source.ts";
import type { Ask } from "./through-connection.ts";

type PolledSource = Extract<ClaimedSource, { kind: "poll" }>;

const maxPages = 20;
const maxTurnItems = 5_000;
const maxTurnBytes = 10 * 1024 * 1024;
/** Between turns that go on at once. */
const onwardMs = 1_000;
const conditionalTurns = 19;
const conditionalMs = 10 * 60 * 1000;
/** The longest that a server can ask for by what its answer says of its freshness. */
const maxAskedMs = 60 * 60 * 1000;
const goneStatus = 410;

/** Asks once for what is new: reads the list to its end, or as far as a turn goes, and stores what it found. */
export async function pollOnce(
  source: PolledSource,
  ask: Ask,
  reading: Reading,
  now: () => Date,
): Promise<Outcome> {
  const { config } = source;
  const before: PollPosition = source.position.poll ?? { seen: "" };
  const walk = new PageWalk(config, before, source.baseUrl);
  const sent = walk.isNew ? conditionsFor(before.validators, walk.page, now()) : undefined;
  let validators: Validators | undefined;
  let pauseMs = intervalOf(config);

  for (let pages = 0; ;) {
    const reply = await ask({ ...requestOf(walk.page), headers: pages === 0 ? conditionHeaders(sent) : {} });
    pauseMs = Math.max(pauseMs, askedPauseMs(reply));
    if (reply.status === 304 && sent !== undefined && pages === 0) {
      const next = {
        ...before,
        validators: { ...sent, turns: sent.turns + 1 },
        readUntil: now().toISOString(),
      };
      await reading.advance({ poll: next });
      return { pauseMs };
    }
    if (
      reply.status === goneStatus &&
      walk.isNew &&
      pages === 0 &&
      before.cursor !== undefined &&
      usesCursor(config)
    ) {
      return startAgain(before, reading, now());
    }
    if (!walk.isNew && pages === 0 && [400, 404, goneStatus, 422].includes(reply.status)) {
      const { walk: _, ...without } = before;
      await reading.advance({ poll: without });
    }
    requireList(reply, now());
    if (walk.isNew && pages === 0) validators = validatorsOf(reply, walk.page, now());
    const page: Page =
      reply.status === 204
        ? { items: [], next: undefined }
        : await readPage(reply.body, config, reading.origin);
    walk.pass(page, reply.headers["link"], reply.body.length);
    pages++;
    if (walk.isOver || pages === maxPages || walk.items >= maxTurnItems || walk.bytes >= maxTurnBytes) break;
  }

  const until = now().toISOString();
  if (walk.mayHaveMissed) {
    await reading.advance(
      { poll: before },
      {
        ...{ from: before.readUntil ?? null, to: until, why: "PAGE_LIMIT" },
        message:
          "nothing that was on the list before is on it now, so more may have passed than it shows; poll more often, or by a cursor",
      },
    );
  }
  await reading.take(walk.found, { poll: walk.positionNow(until, validators) });
  return { pauseMs: walk.isOver ? pauseMs : onwardMs };
}

/** The pages that are read one after another, and what is found on them. */
class PageWalk {
  /** Whether it begins with this turn. */
  readonly isNew: boolean;
  page: string;
  isOver = false;
  items = 0;
  bytes = 0;
  readonly #config: PollConfig;
  readonly #before: PollPosition;
  readonly #baseUrl: string;
  readonly #seen: Marks;
  readonly #passed: Marks;
  #found: Item[] = [];
  #pages = 0;
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
  }

  /** The events to store, the oldest first. In a first turn that begins now, there are none. */
  get found(): readonly Item[] {
    return this.#onlyNotes ? [] : this.#found;
  }

  /** Whether it is over, and came by nothing that it knows, though there was something to know. */
  get mayHaveMissed(): boolean {
    const isShown = usesCursor(this.#config) || this.#meetsSeen;
    return this.isOver && !isShown && this.#seen.size > 0 && this.#passed.size > 0;
  }

  get #onlyNotes(): boolean {
    return this.#config.start === "now" && this.#before.readUntil === undefined;
  }

  pass(page: Page, link: string | undefined, bytes: number): void {
    const { order } = this.#config;
    const before = this.#passed.size;
    const fresh: Item[] = [];
    for (const item of page.items) {
      if (this.#seen.has(item.key)) this.#meetsSeen = true;
      else if (!this.#passed.has(item.key)) fresh.push(item);
      this.#passed.add(item.key);
    }
    this.#found = order === "ascending" ? [...this.#found, ...fresh] : [...fresh, ...this.#found];
    const newest = page.items.findLast(({ cursor }) => cursor !== undefined)?.cursor;
    const earlier = this.#newest;
    this.#newest = order === "ascending" ? (newest ?? earlier) : (earlier ?? newest);
    this.items += page.items.length;
    this.bytes += bytes;
    this.#pages++;
    // Pages that lead back to themselves have nothing new on them.
    const leadsBack = page.items.length > 0 && this.#passed.size === before;
    const next = leadsBack ? undefined : this.#pageBehind({ link, next: page.next }, fresh.length, earlier);
    this.isOver = next === undefined || next === this.page || this.#hasEnough;
    if (next !== undefined) this.page = next;
  }

  /** Behind what is known already, a list that begins with its newest has nothing new. */
  get #hasEnough(): boolean {
    const { order } = this.#config;
    return order === "descending" && !usesCursor(this.#config) && (this.#meetsSeen || this.#onlyNotes);
  }

  #pageBehind(
    reply: { readonly link: string | undefined; readonly next: string | undefined },
    fresh: number,
    earlier: string | undefined,
  ): string | undefined {
    const config = this.#config;
    if (config.next !== undefined) return nextPage(config, reply, this.page, this.#baseUrl);
    const moved = this.#newest !== (earlier ?? this.#before.cursor);
    const goesOn = config.order === "ascending" && usesCursor(config) && fresh > 0 && moved;
    return goesOn ? firstPage(config, this.#newest) : undefined;
  }

  /** Where the list stands once what was found is stored. */
  positionNow(at: string, validators: Validators | undefined): PollPosition {
    const { cursor, seen, readUntil } = this.#before;
    const newest = this.#newest === undefined ? {} : { newest: this.#newest };
    if (!this.isOver) {
      const walk = { next: this.page, seen: String(this.#passed), meetsSeen: this.#meetsSeen, ...newest };
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
      readUntil: at,
      ...(speaksForAll && validators && { validators }),
    };
  }
}

/** The server does not know the cursor any more. */
async function startAgain(before: PollPosition, reading: Reading, now: Date): Promise<Outcome> {
  const { cursor, validators: _, ...rest } = before;
  await reading.advance(
    { poll: rest },
    {
      ...{ from: cursor ?? null, to: now.toISOString(), why: "CURSOR_EXPIRED" },
      message: "the server answered 410 Gone to the cursor; the list is read from where it begins now",
    },
  );
  return { pauseMs: onwardMs };
}

function requireList({ status, headers }: OutboundReply, now: Date): void {
  if (status === 200 || status === 204) return;
  const isElsewhere = status >= 300 && status < 400 && status !== 304;
  const next = isElsewhere ? "; redirects are not followed, so name the address that it leads to" : "";
  throw new SourceFailure(`the server answered ${status}${next}`, retryAfterMs(headers["retry-after"], now));
}

function conditionsFor(known: Validators | undefined, page: string, now: Date): Validators | undefined {
  if (known?.url !== page || known.turns >= conditionalTurns) return undefined;
  return now.getTime() - Date.parse(known.unconditionalAt) < conditionalMs ? known : undefined;
}

function conditionHeaders(sent: Validators | undefined): Record<string, string> {
  return {
    ...(sent?.etag !== undefined && { "if-none-match": sent.etag }),
    ...(sent?.lastModified !== undefined && { "if-modified-since": sent.lastModified }),
  };
}

function validatorsOf({ headers }: OutboundReply, url: string, now: Date): Validators | undefined {
  const { etag, "last-modified": lastModified } = headers;
  if (etag === undefined && lastModified === undefined) return undefined;
  return {
    ...{ url, turns: 0, unconditionalAt: now.toISOString() },
    ...(etag !== undefined && { etag }),
    ...(lastModified !== undefined && { lastModified }),
  };
}

/** Not all at the same moment. */
function intervalOf({ intervalSeconds }: PollConfig): number {
  return intervalSeconds * 1000 * (0.9 + 0.2 * Math.random());
}

function askedPauseMs({ headers }: OutboundReply): number {
  const asked = [
    /^\d{1,6}$/.exec(headers["x-poll-interval"] ?? "")?.[0],
    /(?:^|[\s,])max-age=(\d{1,9})/i.exec(headers["cache-control"] ?? "")?.[1],
    /^\d{1,6}$/.exec(headers["retry-after"] ?? "")?.[0],
  ];
  return Math.min(Math.max(...asked.map((seconds) => Number(seconds ?? 0) * 1000)), maxAskedMs);
}
