import { attributesOf, documentOf } from "#src/eventlog/document.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";

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
  /** The number of the event before it that the endpoint's types select; null where a chain begins. */
  readonly previous: number | null;
}

/**
 * The event as one document that is an event of CloudEvents 1.0 and a payload of Standard Webhooks at once, or as the
 * bytes that came, with its attributes in headers.
 */
export async function payloadOf(
  event: LoggedEvent,
  { type, body, contentType, previous }: PayloadForm,
): Promise<Payload> {
  // As channels store the header. A channel that takes CloudEvents stores no headers, and must see a loop, too.
  const also = { type, xqehops: String(hopsOf(event)) };
  if (body === "binary") return binaryOf(event, also);
  // Headers are not signed, and without this number a receiver does not notice that another delivery was held back.
  const document = await documentOf(event, { ...also, qeprevious: previousOf(event, previous) });
  return { contentType, headers: {}, body: document };
}

/** Which number in its log the endpoint was sent before; `-` where a chain begins. */
export function previousOf({ log }: LoggedEvent, previous: number | null): string {
  return `${log}:${previous ?? "-"}`;
}

function binaryOf(event: LoggedEvent, also: Readonly<Record<string, string>>): Payload {
  const { datacontenttype, ...attributes } = attributesOf(event, also);
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

/** By how many webhooks the event was sent on, this one included. A channel refuses what comes with too many. */
export function hopsOf({ extensions }: LoggedEvent): number {
  const before = Number(extensions["xqehops"] ?? 0);
  return (Number.isSafeInteger(before) ? before : 0) + 1;
}
