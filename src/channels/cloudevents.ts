import { isUtf8 } from "node:buffer";
import { hash } from "node:crypto";
import { backslash, openBrace, openBracket, quote } from "#src/platform/ascii.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import type { Arrival } from "#src/eventlog/intake.ts";
import { attributeFrom, isTime } from "./attributes.ts";
import { InvalidEvent, UnreadBody } from "./errors.ts";
import {
  itemsOf,
  maxDepth,
  membersOf,
  NotJson,
  scalarAt,
  textAt,
  wholeValue,
  type Span,
} from "./json-spans.ts";
import { bytesOfHeader, headerOf, valuesOf, type HeaderLines } from "./signatures/request.ts";

/** An event of a request, and by what it is known again. */
export type ReadEvent = Omit<Arrival, "log" | "verified">;

/** What a request of CloudEvents brought. */
export interface ReadCloudEvents {
  readonly events: readonly ReadEvent[];
  /** A batch is answered with a list of numbers, however many events it had. */
  readonly isBatch: boolean;
}

const jsonType = "application/json";
/** More would not fit into one transaction with others. */
const mostInBatch = 500;
const mostAttributes = 64;
/** A multiple of four, read in about a millisecond. */
const base64Piece = 256 * 1024;
/** What a log sets by itself: an event that comes from another Patchbay has those of that one. */
const ownAttributes = new Set(["qelog", "qeseq", "qereceived", "qeverified", "qemasked", "qeprevious"]);
const required = ["specversion", "id", "source", "type"] as const;

/**
 * The events of a request, in the structured, the batched or the binary mode of CloudEvents 1.0 over HTTP. Their data
 * are the bytes that came: nothing is parsed and written again. Throws InvalidEvent, UnreadBody.
 */
export async function readCloudEvents(headers: HeaderLines, body: Buffer): Promise<ReadCloudEvents> {
  const type = singleHeader(headers, "content-type") ?? "";
  const [, mode, format] = /^application\/cloudevents(-batch)?(\+[\w.-]+)?\s*(?:;|$)/i.exec(type) ?? [];
  if (!/^application\/cloudevents/i.test(type)) {
    return { events: [binaryEvent(headers, type, body)], isBatch: false };
  }
  if (format?.toLowerCase() !== "+json" || !isInUtf8(type)) {
    throw new UnreadBody(
      "of CloudEvents, application/cloudevents+json and application/cloudevents-batch+json are read, in UTF-8; or send the binary mode, with ce- headers",
    );
  }
  if (!isUtf8(body)) throw new InvalidEvent("the body is not UTF-8");
  try {
    if (mode === undefined) return { events: [await structuredEvent(body, "")], isBatch: false };
    return { events: await batchedEvents(body), isBatch: true };
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    const wanted = mode === undefined ? "JSON" : "a JSON list";
    throw new InvalidEvent(`the body is not ${wanted}, or nests more than ${maxDepth} deep`);
  }
}

function isInUtf8(type: string): boolean {
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(type)?.[1];
  return charset === undefined || /^utf-?8$/i.test(charset);
}

async function batchedEvents(body: Buffer): Promise<ReadEvent[]> {
  const items = await inTurns(
    (function* () {
      const whole = yield* wholeValue(body);
      if (body[whole.start] !== openBracket) throw new NotJson();
      return yield* itemsOf(body, whole);
    })(),
  );
  if (items.length > mostInBatch)
    throw new InvalidEvent(`the batch has ${items.length} events; ${mostInBatch} is the most`);
  const events: ReadEvent[] = [];
  for (const [index, { start, end }] of items.entries()) {
    events.push(await structuredEvent(body.subarray(start, end), `event ${index} of the batch: `));
  }
  return events;
}

async function structuredEvent(json: Buffer, place: string): Promise<ReadEvent> {
  const members = await inTurns(
    (function* () {
      const whole = yield* wholeValue(json);
      if (json[whole.start] !== openBrace) throw new InvalidEvent("an event in JSON is an object", place);
      return yield* membersOf(json, whole);
    })(),
  );
  const attributes = new Map<string, string>();
  const data = new Map<string, Span>();
  for (const [name, span] of members) {
    if (attributes.has(name) || data.has(name)) throw new InvalidEvent(`${shown(name)}: given twice`, place);
    if (name === "data" || name === "data_base64") data.set(name, span);
    else if (!isNull(json, span)) attributes.set(name, attributeAt(json, name, span, place));
  }
  // Data that JSON holds is JSON where nothing else is said (CloudEvents in JSON, 3.1); a reader of its bytes cannot know.
  if (data.has("data") && !attributes.has("datacontenttype")) attributes.set("datacontenttype", jsonType);
  const described = describe(attributes, place);
  return withData(described, await dataOf(json, data, described.contentType, place));
}

function attributeAt(json: Buffer, name: string, span: Span, place: string): string {
  requireName(name, place);
  const isText = json[span.start] === quote;
  const text = scalarAt(json, span);
  if (text === undefined) throw new InvalidEvent(`${shown(name)}: give a text, number or boolean`, place);
  if (!isText && isCore(name)) throw new InvalidEvent(`${shown(name)}: give a text`, place);
  return text;
}

/** The data of an event in JSON, as the bytes that came. */
async function dataOf(
  json: Buffer,
  data: ReadonlyMap<string, Span>,
  contentType: string | undefined,
  place: string,
): Promise<Buffer | undefined> {
  const plain = data.get("data");
  const encoded = data.get("data_base64");
  if (plain !== undefined && encoded !== undefined)
    throw new InvalidEvent("data and data_base64: give one of them", place);
  if (encoded !== undefined) return inTurns(bytesOfBase64(json, encoded, place));
  if (plain === undefined) return undefined;
  // A text under another type is that text; under JSON, the value is JSON as it stands there.
  if (json[plain.start] === quote && !isJsonType(contentType)) {
    const inside = json.subarray(plain.start + 1, plain.end - 1);
    // Most have no escapes, and are what stands there.
    if (!inside.includes(backslash)) return inside;
    const text = textAt(json, plain);
    if (!text.isWellFormed()) throw new InvalidEvent("data: has broken Unicode", place);
    return Buffer.from(text);
  }
  return json.subarray(plain.start, plain.end);
}

function* bytesOfBase64(json: Buffer, span: Span, place: string): LongWork<Buffer | undefined> {
  if (isNull(json, span)) return undefined;
  const text = json[span.start] === quote ? textAt(json, span) : "?";
  const pieces: Buffer[] = [];
  for (let at = 0; at < text.length; at += base64Piece) {
    const piece = text.slice(at, at + base64Piece);
    const bytes = Buffer.from(piece, "base64");
    // Padding stands at the end alone.
    const isWhole = at + base64Piece >= text.length || bytes.length === (base64Piece / 4) * 3;
    if (!isWhole || bytes.toString("base64") !== piece)
      throw new InvalidEvent("data_base64: is not base64", place);
    pieces.push(bytes);
    yield;
  }
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
}

function isJsonType(contentType: string | undefined): boolean {
  return contentType !== undefined && /^[\w.-]+\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(contentType);
}

function isNull(json: Buffer, { start, end }: Span): boolean {
  return end - start === 4 && json[start] === 0x6e;
}

function binaryEvent(headers: HeaderLines, contentType: string, body: Buffer): ReadEvent {
  const attributes = new Map<string, string>();
  for (const [line, value] of headers) {
    const name = /^ce-(.*)$/i.exec(line)?.[1]?.toLowerCase();
    if (name === undefined) continue;
    requireName(name, "");
    if (name === "datacontenttype" || name === "data")
      throw new InvalidEvent(`ce-${name}: in the binary mode, content-type and the body say that`);
    if (attributes.has(name)) throw new InvalidEvent(`ce-${name}: given twice`);
    attributes.set(name, headerText(name, value));
  }
  if (!attributes.has("specversion"))
    throw new InvalidEvent(
      "no CloudEvent: give ce-specversion, ce-id, ce-source and ce-type as headers, or the event as application/cloudevents+json",
    );
  if (contentType !== "") attributes.set("datacontenttype", contentType);
  return withData(describe(attributes, ""), body.length === 0 ? undefined : body);
}

/** The value of a header in which what is not ASCII was percent-encoded (CloudEvents over HTTP, 3.1.3.2). */
function headerText(name: string, value: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(value)?.[1];
  const text = quoted?.replace(/\\(.)/g, "$1") ?? bytesOfHeader(value).toString("utf8");
  try {
    return decodeURIComponent(text.replace(/%(?![0-9a-f]{2})/gi, "%25"));
  } catch {
    throw new InvalidEvent(`ce-${name}: percent-encoded characters are not UTF-8`);
  }
}

function describe(attributes: ReadonlyMap<string, string>, place: string) {
  const missing = required.filter((name) => !attributes.has(name));
  if (missing.length > 0) throw new InvalidEvent(`missing ${missing.join(", ")}`, place);
  if (attributes.get("specversion") !== "1.0")
    throw new InvalidEvent("specversion: 1.0 is read, and no other", place);
  if (attributes.size > mostAttributes)
    throw new InvalidEvent(`${attributes.size} attributes; ${mostAttributes} is the most`, place);
  const text = (name: string) => {
    const value = attributes.get(name);
    return value === undefined ? undefined : attributeFrom(name, value, place);
  };
  const time = text("time");
  if (time !== undefined && !isTime(time))
    throw new InvalidEvent("time: give a time such as 2026-01-31T08:00:00Z", place);
  const source = text("source") ?? "";
  if (/\s/.test(source)) throw new InvalidEvent("source: must be a URI reference, without spaces", place);
  return {
    ...{ id: text("id") ?? "", source, type: text("type") ?? "" },
    ...{ subject: text("subject"), time, contentType: text("datacontenttype") },
    extensions: Object.fromEntries(
      [...attributes]
        .filter(([name]) => !isCore(name) && !ownAttributes.has(name))
        // An empty text is a value that an extension may have.
        .map(([name, value]) => [name, value === "" ? "" : attributeFrom(name, value, place)]),
    ),
  };
}

const optional = ["subject", "time", "datacontenttype"];

function isCore(name: string): boolean {
  return [...required, ...optional].includes(name);
}

function withData(described: ReturnType<typeof describe>, data: Buffer | undefined): ReadEvent {
  return { ...described, masked: undefined, data, key: receiptKey(described.source, described.id) };
}

/** What an event is known again by. As JSON, in which no two lists of texts look the same. */
export function receiptKey(...parts: readonly string[]): Buffer {
  return hash("sha256", JSON.stringify(parts), "buffer").subarray(0, 16);
}

function requireName(name: string, place: string): void {
  if (/^[a-z0-9]{1,64}$/.test(name)) return;
  throw new InvalidEvent(
    `${shown(name)}: names of attributes are lower-case letters and digits, at most 64`,
    place,
  );
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 64)).slice(1, -1);
}

function singleHeader(headers: HeaderLines, name: string): string | undefined {
  if (valuesOf(headers, name).length > 1) throw new InvalidEvent(`${name}: given twice`);
  return headerOf(headers, name);
}
