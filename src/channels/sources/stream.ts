import { hash, randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { CredentialReflected } from "#src/outbound/errors.ts";
import type { StreamReply } from "#src/outbound/streamed-answer.ts";
import { retryAfterMs } from "#src/calls/retry.ts";
import { isAttribute, longestAttribute } from "../attributes.ts";
import { receiptKey } from "../cloudevents.ts";
import { EventStream, type StreamedEvent } from "./event-stream.ts";
import { SourceFailure } from "./failure.ts";
import { typeOf } from "./list-page.ts";
import type { StreamPosition } from "./position.ts";
import type { Missed, ReadEvent, Reading } from "./reading.ts";
import type { ClaimedSource, Outcome } from "./source.ts";
import { SourceBlocked, type OpenStream } from "./through-connection.ts";

type StreamedSource = Extract<ClaimedSource, { kind: "sse" }>;

/** Read in a few milliseconds, however short its lines are. */
const partBytes = 8 * 1024;
/** Events that are read and stored together. */
const mostAtOnce = 500;
const maxEventBytes = 1024 * 1024;
const defaultRetryMs = 3_000;
const minRetryMs = 1_000;
const maxRetryMs = 300_000;
/** With these, a server refuses a Last-Event-ID that it does not know any more. */
const refusals = new Set([400, 404, 409, 410, 412, 416, 422]);

/** How long the stream is left alone before it is opened again. */
export function retryMsOf(position: StreamPosition | undefined): number {
  return Math.min(Math.max(position?.retryMs ?? defaultRetryMs, minRetryMs), maxRetryMs);
}

/** Opens the stream behind what was read of it, and stores what comes until it ends. */
export async function readStream(
  source: StreamedSource,
  open: OpenStream,
  reading: Reading,
  now: () => Date,
): Promise<Outcome> {
  const before = source.position.stream;
  const { reply, gap } = await openBehind(source, open, before, now);
  // Whatever is thrown on the way, the socket is not left open.
  try {
    requireStream(reply, now());
    const lastId = gap === undefined ? before?.lastId : undefined;
    const position = positionAt(lastId, before?.retryMs, now());
    await reading.advance({ stream: position }, gap);
    return await readToEnd(reply, position, reading, now);
  } finally {
    reply.body.destroy();
  }
}

async function openBehind(
  { config }: StreamedSource,
  open: OpenStream,
  before: StreamPosition | undefined,
  now: () => Date,
): Promise<{ reply: StreamReply; gap?: Missed }> {
  const query = config.query.map(
    ({ name, value }) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
  );
  const asked = { path: config.path, query: query.join("&"), idleMs: config.idleSeconds * 1000 };
  if (before?.lastId === undefined) {
    const reply = await open({ ...asked, headers: {} });
    return before === undefined ? { reply } : { reply, gap: missedSince(before, "NO_POSITION", now()) };
  }
  const reply = await open({ ...asked, headers: { "last-event-id": headerOf(before.lastId) } });
  if (!refusals.has(reply.status)) return { reply };
  reply.body.destroy();
  return {
    reply: await open({ ...asked, headers: {} }),
    gap: missedSince(before, "POSITION_REFUSED", now()),
  };
}

function missedSince(before: StreamPosition, why: Missed["why"], now: Date): Missed {
  const message =
    why === "NO_POSITION"
      ? "the stream gave no id to go on behind, so what it sent between these moments was missed"
      : "the server does not know the last event's id any more, so what it sent behind that may be missed";
  return { from: before.lastId ?? before.readUntil, to: now.toISOString(), why, message };
}

function requireStream({ status, headers }: StreamReply, now: Date): void {
  if (status === 204) {
    throw new SourceBlocked(
      "the server answered 204, which says that the stream is over; resume the channel to open it again",
    );
  }
  if (status !== 200) {
    const isElsewhere = status >= 300 && status < 400;
    const next = isElsewhere ? "; redirects are not followed, so name the address that it leads to" : "";
    throw new SourceFailure(
      `the server answered ${status}${next}`,
      retryAfterMs(headers.get("retry-after"), now),
    );
  }
  const type = headers.get("content-type") ?? "";
  if (!/^text\/event-stream\s*(?:;|$)/i.test(type)) {
    throw new SourceFailure(
      "the server's answer is not of the type text/event-stream; look at the channel's path",
    );
  }
  if (!/^(?:identity)?$/i.test(headers.get("content-encoding") ?? "")) {
    throw new SourceFailure("the server compressed the stream although that was not asked for");
  }
}

async function readToEnd(
  reply: StreamReply,
  begun: StreamPosition,
  reading: Reading,
  now: () => Date,
): Promise<Outcome> {
  const stream = new EventStream({
    maxBytes: maxEventBytes,
    ...(begun.lastId !== undefined && { lastId: begun.lastId }),
  });
  const positionBehind = (lastId: string): StreamPosition =>
    positionAt(isSendable(lastId) ? lastId : undefined, stream.retryMs ?? begun.retryMs, now());

  async function take(events: readonly StreamedEvent[]): Promise<void> {
    let waiting: ReadEvent[] = [];
    let behind = "";
    for (const event of events) {
      const read = readEventOf(event, reading.origin);
      if (read === undefined) {
        // What comes before it is stored before it is passed over.
        if (waiting.length > 0) await reading.take(waiting, { stream: positionBehind(behind) });
        waiting = [];
        await reading.advance({ stream: positionBehind(event.lastId) }, tooLarge(event, now()));
        continue;
      }
      waiting.push(read);
      behind = event.lastId;
      if (waiting.length < mostAtOnce) continue;
      await reading.take(waiting, { stream: positionBehind(behind) });
      waiting = [];
    }
    if (waiting.length > 0) await reading.take(waiting, { stream: positionBehind(stream.lastId) });
  }

  for await (const piece of untilItEnds(reply)) {
    reading.holding.grow(piece.length);
    const events: StreamedEvent[] = [];
    for (const part of partsOf(piece)) {
      events.push(...stream.feed(part));
      await nextTurn();
    }
    await take(events);
    reading.holding.become(stream.heldBytes);
  }
  if (reading.signal.aborted) return { pauseMs: 0 };
  // How far it was read also without an event: by an id alone, or in time.
  const position = positionBehind(stream.lastId);
  await reading.advance({ stream: position });
  return { pauseMs: retryMsOf(position) };
}

function* partsOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += partBytes) yield bytes.subarray(at, at + partBytes);
}

/** That it is cut is how a stream ends; that it shows its credential is not, as it would again behind the same id. */
async function* untilItEnds({ body }: StreamReply): AsyncGenerator<Buffer> {
  const pieces: AsyncIterator<Buffer> = body[Symbol.asyncIterator]();
  for (;;) {
    const next = await pieces.next().catch((error: unknown) => {
      if (error instanceof CredentialReflected) throw error;
    });
    if (next === undefined || next.done === true) return;
    yield next.value;
  }
}

function positionAt(lastId: string | undefined, retryMs: number | undefined, now: Date): StreamPosition {
  return {
    readUntil: now.toISOString(),
    ...(lastId !== undefined && { lastId }),
    ...(retryMs !== undefined && { retryMs }),
  };
}

/** Undefined for an event that is longer than is taken. */
function readEventOf({ id, type, data }: StreamedEvent, source: string): ReadEvent | undefined {
  if (data === undefined) return undefined;
  const isNamed = id !== undefined && id !== "";
  const name = isNamed && isSendable(id) ? id : randomUUID();
  return {
    // By its content as well: many servers count ids from 1 again when they start, and what is new must not pass for known.
    key: isNamed ? receiptKey(id, type, hash("sha256", data, "hex")) : receiptKey(name),
    event: {
      ...{ id: name, source, type: typeOf(type, "message"), extensions: {}, verified: "connection" },
      contentType: isJson(data) ? "application/json" : "text/plain; charset=utf-8",
      data,
    },
  };
}

function isJson(data: Buffer): boolean {
  if (!/^\s*[[{]/.test(data.toString("latin1", 0, 64))) return false;
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
    return true;
  } catch {
    return false;
  }
}

function tooLarge({ id, lastId }: StreamedEvent, now: Date): Missed {
  return {
    ...{ from: (id ?? lastId) || null, to: now.toISOString(), why: "EVENT_TOO_LARGE" },
    message: `an event of the stream is longer than ${maxEventBytes} bytes, and was left out`,
  };
}

/** Whether an event, and a request, can name the id. */
function isSendable(id: string): boolean {
  return isAttribute(id) && id.length <= longestAttribute;
}

/** As the bytes of UTF-8, which is how the standard sends it. */
function headerOf(id: string): string {
  return Buffer.from(id).toString("latin1");
}
