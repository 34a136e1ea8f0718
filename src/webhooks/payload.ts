import { isUtf8 } from "node:buffer";
import { walkJson } from "#src/json/walk.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns } from "#src/platform/in-turns.ts";

/** What a delivery sends. */
export interface Payload {
  /** Undefined for an event without data that goes out as its bytes alone. */
  readonly contentType: string | undefined;
  /** Those that stand for the event's attributes. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** As which of its types the event is sent, and in which form. */
export interface PayloadForm {
  readonly type: string;
  readonly body: "webhook" | "binary";
  /** Of the form `webhook`. */
  readonly contentType: string;
}

/** One event goes to many endpoints, and to each of them as often as it fails. */
const documents = new WeakMap<LoggedEvent, Map<string, Promise<Buffer>>>();

/**
 * The event as one document that is an event of CloudEvents 1.0 and a payload of Standard Webhooks at once, or as the
 * bytes that came, with its attributes in headers.
 */
export async function payloadOf(
  event: LoggedEvent,
  { type, body, contentType }: PayloadForm,
): Promise<Payload> {
  if (body === "binary") return binaryOf(event, type);
  const known = documents.get(event) ?? new Map<string, Promise<Buffer>>();
  documents.set(event, known);
  const document = known.get(type) ?? documentOf(event, type);
  known.set(type, document);
  return { contentType, headers: {}, body: await document };
}

async function documentOf(event: LoggedEvent, type: string): Promise<Buffer> {
  const attributes = { ...attributesOf(event, type), timestamp: happenedAt(event) };
  const head = JSON.stringify(attributes).slice(0, -1);
  const data = await dataMember(event);
  return Buffer.concat([Buffer.from(head), ...data, Buffer.from("}")]);
}

/** The data as the bytes that came, wherever a JSON document can hold them: parsed and written again, they may differ. */
async function dataMember({ data, contentType }: LoggedEvent): Promise<Buffer[]> {
  if (data === undefined) return [];
  const essence = contentType?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (isUtf8(data)) {
    if (/^[^/]+\/(?:[^/]+\+)?json$/.test(essence) && (await isJson(data)))
      return [Buffer.from(',"data":'), data];
    if (essence.startsWith("text/")) return [Buffer.from(`,"data":${JSON.stringify(data.toString())}`)];
  }
  return [Buffer.from(`,"data_base64":"`), Buffer.from(data.toString("base64")), Buffer.from('"')];
}

async function isJson(data: Buffer): Promise<boolean> {
  try {
    await inTurns(walkJson(data.toString(), { maxDepth: Infinity, allowsNul: true, anyNumber: true }));
    return true;
  } catch (error) {
    if (error instanceof InvalidRequest) return false;
    throw error;
  }
}

function binaryOf(event: LoggedEvent, type: string): Payload {
  const { datacontenttype, ...attributes } = attributesOf(event, type);
  const headers = Object.entries(attributes).map(([name, value]) => [
    `ce-${name}`,
    headerText(String(value)),
  ]);
  return {
    contentType: datacontenttype,
    headers: Object.fromEntries(headers) as Record<string, string>,
    body: event.data ?? Buffer.of(),
  };
}

/** As the HTTP binding of CloudEvents wants it: what is no visible ASCII, and what quotes or escapes, in percent. */
function headerText(value: string): string {
  return value.toWellFormed().replace(/[^\x21\x23\x24\x26-\x7e]+/gu, encodeURIComponent);
}

/** Ours come last: no sender gives an event another number, log or way of being verified. */
function attributesOf(event: LoggedEvent, type: string) {
  const { id, source, subject, time, contentType, extensions, verified, masked, log, seq, receivedAt } =
    event;
  // No extension has these names, and the data would be there twice.
  const { data: _, data_base64: __, ...further } = extensions;
  return {
    ...further,
    specversion: "1.0",
    ...{ id, source, type },
    ...(subject !== undefined && { subject }),
    ...(time !== undefined && { time }),
    ...(contentType !== undefined && event.data !== undefined && { datacontenttype: contentType }),
    ...{ qelog: log, qeseq: seq, qereceived: receivedAt.toISOString(), qeverified: verified },
    ...(masked !== undefined && { qemasked: masked }),
    // As channels store the header. A channel that takes CloudEvents stores no headers, and must see a loop, too.
    xqehops: String(hopsOf(event)),
  };
}

/** By how many webhooks the event was sent on, this one included. A channel refuses what comes with too many. */
export function hopsOf({ extensions }: LoggedEvent): number {
  const before = Number(extensions["xqehops"] ?? 0);
  return (Number.isSafeInteger(before) ? before : 0) + 1;
}

/** When it happened, if that can be read; else when it came. */
function happenedAt({ time, receivedAt }: LoggedEvent): string {
  const at = time === undefined ? Number.NaN : Date.parse(time);
  return (Number.isNaN(at) ? receivedAt : new Date(at)).toISOString();
}
