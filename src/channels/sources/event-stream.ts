import { GatheredBytes } from "./gathered-bytes.ts";

/** An event of a stream. */
export interface StreamedEvent {
  /** What the event itself was named by; undefined if it has no `id` line of its own. */
  readonly id: string | undefined;
  /** `message` unless the stream says otherwise. */
  readonly type: string;
  /** As the bytes that came; undefined for an event that is longer than is taken. */
  readonly data: Buffer | undefined;
  /** Where the stream stands behind it: the last id that was given. */
  readonly lastId: string;
}

const lf = 0x0a;
const cr = 0x0d;
const colon = 0x3a;
const space = 0x20;
const lineEnd = Buffer.from("\n");
const mark = Buffer.from([0xef, 0xbb, 0xbf]);

/** Longer names are of no use: no event has them, and no request. They take no memory while the stream goes on. */
const maxNameBytes = 4096;

/** Beside the data, a line has the name of its field. */
const fieldBytes = 16;

/**
 * Reads an event stream (WHATWG HTML, 9.2) from its bytes, in whatever pieces they come. An event that is longer than
 * the limit is left out and said to be; its memory is bounded by that limit.
 */
export class EventStream {
  readonly #maxBytes: number;
  readonly #line: GatheredBytes;
  readonly #data: GatheredBytes;
  #isFirstLine = true;
  #isAfterCr = false;
  /** The present line has more than is taken, and its rest is passed over. */
  #isLineCut = false;
  #isTooLong = false;
  #hasData = false;
  #type = "";
  #ownId: string | undefined;
  #id: string;
  #lastId: string;
  #retryMs: number | undefined;
  #found: StreamedEvent[] = [];

  /** `lastId` is what the stream goes on behind. */
  constructor({ maxBytes, lastId = "" }: { maxBytes: number; lastId?: string }) {
    this.#maxBytes = maxBytes;
    this.#line = new GatheredBytes(maxBytes + fieldBytes);
    this.#data = new GatheredBytes(maxBytes + 1);
    this.#id = lastId;
    this.#lastId = lastId;
  }

  /** The id behind which the stream can go on; it may come without an event. */
  get lastId(): string {
    return this.#lastId;
  }

  /** How much is kept of an event that has not ended. */
  get heldBytes(): number {
    return this.#line.length + this.#data.length;
  }

  /** How long the stream asks to wait before it is opened again. */
  get retryMs(): number | undefined {
    return this.#retryMs;
  }

  /** The events that end within the piece. */
  feed(piece: Buffer): StreamedEvent[] {
    let from = this.#isAfterCr && piece[0] === lf ? 1 : 0;
    if (piece.length > 0) this.#isAfterCr = piece.at(-1) === cr;
    let nextLf = piece.indexOf(lf, from);
    let nextCr = piece.indexOf(cr, from);
    for (;;) {
      if (nextLf !== -1 && nextLf < from) nextLf = piece.indexOf(lf, from);
      if (nextCr !== -1 && nextCr < from) nextCr = piece.indexOf(cr, from);
      const end = nextCr === -1 || (nextLf !== -1 && nextLf < nextCr) ? nextLf : nextCr;
      if (end === -1) break;
      this.#endLine(piece.subarray(from, end));
      from = end + (piece[end] === cr && piece[end + 1] === lf ? 2 : 1);
    }
    this.#gather(piece.subarray(from));
    const found = this.#found;
    this.#found = [];
    return found;
  }

  #gather(part: Buffer): void {
    if (this.#isLineCut || part.length === 0 || this.#line.add(part)) return;
    // What it begins with says which field it is.
    this.#line.add(part.subarray(0, Math.max(0, fieldBytes - this.#line.length)));
    this.#isLineCut = true;
  }

  #endLine(rest: Buffer): void {
    let line = rest;
    if (this.#line.length > 0 || this.#isLineCut) {
      this.#gather(rest);
      line = this.#line.take();
    } else if (rest.length > this.#maxBytes + fieldBytes) {
      this.#isLineCut = true;
    }
    if (this.#isFirstLine && line.subarray(0, 3).equals(mark)) line = line.subarray(3);
    this.#isFirstLine = false;
    if (this.#isLineCut) this.#isTooLong ||= line[0] !== colon;
    else if (line.length === 0) this.#endEvent();
    else this.#take(line);
    this.#isLineCut = false;
  }

  #take(line: Buffer): void {
    const at = line.indexOf(colon);
    if (at === 0) return;
    const name = at === -1 ? line.toString("latin1") : line.toString("latin1", 0, at);
    const from = at === -1 ? line.length : at + (line[at + 1] === space ? 2 : 1);
    const value = line.subarray(from);
    if (name === "data") {
      this.#hasData = true;
      this.#isTooLong ||= !(this.#data.add(value) && this.#data.add(lineEnd));
    } else if (name === "event") {
      this.#type = nameIn(value);
    } else if (name === "id") {
      if (value.includes(0)) return;
      this.#id = nameIn(value);
      this.#ownId = this.#id;
    } else if (name === "retry" && /^\d{1,9}$/.test(value.toString("latin1"))) {
      this.#retryMs = Number(value.toString("latin1"));
    }
  }

  #endEvent(): void {
    this.#lastId = this.#id;
    if (this.#hasData || this.#isTooLong) {
      this.#found.push({
        id: this.#ownId,
        type: this.#type || "message",
        data: this.#isTooLong ? undefined : this.#data.take().subarray(0, -1),
        lastId: this.#lastId,
      });
    }
    this.#data.clear();
    this.#hasData = false;
    this.#isTooLong = false;
    this.#type = "";
    this.#ownId = undefined;
  }
}

function nameIn(value: Buffer): string {
  return value.length <= maxNameBytes ? value.toString() : "";
}
