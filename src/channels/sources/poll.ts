import type { OutboundReply } from "#src/outbound/outbound.ts";
import { requestOf, usesCursor } from "./list-url.ts";
import { PageWalk } from "./page-walk.ts";
import type { PollPosition, Validators } from "./position.ts";
import type { Missed, Reading } from "./reading.ts";
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

/** Asks for what is new: reads the list to its end, or as far as a turn goes, and stores what it found. */
export async function pollOnce(
  source: PolledSource,
  ask: Ask,
  reading: Reading,
  now: () => Date,
): Promise<Outcome> {
  const turn: Turn = { source, ask, reading, now, pages: 0, pauseMs: intervalOf(source.config) };
  let before: PollPosition = source.position.poll ?? { seen: "" };
  for (;;) {
    const { position, goesOn } = await walkOnce(turn, before);
    if (!goesOn) return { pauseMs: turn.pauseMs };
    if (position.walk !== undefined || turn.pages >= maxPages) return { pauseMs: onwardMs };
    before = position;
  }
}

/** One time that a list is polled. */
interface Turn {
  readonly source: PolledSource;
  readonly ask: Ask;
  readonly reading: Reading;
  readonly now: () => Date;
  pages: number;
  /** Until the next one. */
  pauseMs: number;
}

/** Where the list stands after some of its pages, and whether there may be more already. */
interface Walked {
  readonly position: PollPosition;
  readonly goesOn: boolean;
}

/** Reads pages up to the last one, or as many as the turn may, and stores what it found. */
async function walkOnce(turn: Turn, before: PollPosition): Promise<Walked> {
  const { source, reading, now } = turn;
  const { config } = source;
  const walk = new PageWalk(config, before, source.baseUrl);
  const { page } = walk;
  const sent = walk.isNew ? conditionsFor(before.validators, page, now()) : undefined;
  const first = await askFor(turn, page, conditionHeaders(sent));
  if (first.status === 304 && sent !== undefined) {
    const position = {
      ...before,
      validators: { ...sent, turns: sent.turns + 1 },
      readUntil: now().toISOString(),
    };
    await reading.advance({ poll: position });
    return { position, goesOn: false };
  }
  if (first.status === goneStatus && walk.isNew && before.cursor !== undefined && usesCursor(config)) {
    // Not at once: a server may refuse every cursor.
    return { position: await startAgain(before, reading, now()), goesOn: false };
  }
  if (!walk.isNew && [400, 404, goneStatus, 422].includes(first.status)) {
    // What was to be the next page is one no more. Its list is read from the first one again.
    const { walk: _, ...without } = before;
    await reading.advance({ poll: without });
  }
  await walk.pass(first, reading.origin, now());
  const validators = walk.isNew ? validatorsOf(first, page, now()) : undefined;
  try {
    while (!walk.isOver && turn.pages < maxPages && walk.items < maxTurnItems && walk.bytes < maxTurnBytes) {
      await walk.pass(await askFor(turn, walk.page, {}), reading.origin, now());
    }
  } catch (error) {
    // What was found so far need not be found again.
    await reading.take(walk.found, { poll: walk.positionNow(now(), undefined) });
    throw error;
  }
  walk.giveUpIfEndless();
  if (walk.mayHaveMissed) await reading.advance({ poll: before }, beyondPages(before, now()));
  const position = walk.positionNow(now(), validators);
  await reading.take(walk.found, { poll: position });
  return { position, goesOn: !walk.isOver || walk.hasMoreBehindCursor };
}

async function askFor(turn: Turn, page: string, headers: Record<string, string>): Promise<OutboundReply> {
  const reply = await turn.ask({ ...requestOf(page), headers });
  turn.pages++;
  turn.pauseMs = Math.max(turn.pauseMs, askedPauseMs(reply));
  return reply;
}

function beyondPages({ readUntil }: PollPosition, now: Date): Missed {
  return {
    ...{ from: readUntil ?? null, to: now.toISOString(), why: "PAGE_LIMIT" },
    message:
      "nothing that was on the list before is on it now, so more may have passed than it shows; poll more often, or by a cursor",
  };
}

/** The server does not know the cursor any more. */
async function startAgain(before: PollPosition, reading: Reading, now: Date): Promise<PollPosition> {
  const { cursor, validators: _, ...position } = before;
  await reading.advance(
    { poll: position },
    {
      ...{ from: cursor ?? null, to: now.toISOString(), why: "CURSOR_EXPIRED" },
      message: "the server answered 410 Gone to the cursor; the list is read from where it begins now",
    },
  );
  return position;
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
