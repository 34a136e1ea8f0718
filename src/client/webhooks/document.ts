import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Event, EventSchema } from "#gen/patchbay/events/v1/event_pb.js";

/** Reads the event of a delivery in the format `binary`. Throws if it holds none. */
export function binaryEvent(headers: Headers, body: Uint8Array): Event {
  const attributes = [...headers]
    .filter(([name]) => name.startsWith("ce-"))
    .map(([name, value]) => [name.slice("ce-".length), decodeURIComponent(value)] as const);
  const contentType = headers.get("content-type");
  const data = body.length === 0 && contentType === null ? undefined : body;
  return eventWith(
    { ...Object.fromEntries(attributes), ...(contentType !== null && { datacontenttype: contentType }) },
    data,
  );
}

const dataMember = ',"data":';

/**
 * Reads the event of a delivery in the other formats. Throws if the body holds none.
 *
 * Patchbay writes the attributes first, each a text or a number, and the data last, as the bytes that came. No text of
 * JSON holds this member's beginning, since a quote within is escaped: so the data can be cut out as it is.
 */
export function documentEvent(body: Uint8Array): Event {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  const at = text.indexOf(dataMember);
  const head = at === -1 ? text : `${text.slice(0, at)}}`;
  const { data_base64: base64, timestamp: _, ...attributes } = texts(JSON.parse(head));
  if (base64 !== undefined) return eventWith(attributes, fromBase64(base64));
  if (at === -1) return eventWith(attributes, undefined);
  const raw = text.slice(at + dataMember.length, text.lastIndexOf("}"));
  const isText = attributes["datacontenttype"]?.trim().toLowerCase().startsWith("text/") ?? false;
  return eventWith(attributes, new TextEncoder().encode(isText ? String(JSON.parse(raw)) : raw));
}

function texts(json: unknown): Record<string, string> {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new TypeError("the body is no event");
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [name, String(value)]));
}

function fromBase64(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function eventWith(attributes: Record<string, string>, data: Uint8Array | undefined): Event {
  const { specversion: _, id, source, type, subject, time, datacontenttype, ...others } = attributes;
  const { qelog: log, qeseq, qereceived, qeverified, qemasked: masked, ...extensions } = others;
  if (id === undefined || log === undefined || qeseq === undefined || !/^\d{1,16}$/.test(qeseq)) {
    throw new TypeError("the body is no event of Patchbay");
  }
  return create(EventSchema, {
    ...{ id, log, seq: BigInt(qeseq), extensions, source: source ?? "", type: type ?? "" },
    ...(qereceived !== undefined && { receivedAt: timestampFromDate(new Date(qereceived)) }),
    ...(subject !== undefined && { subject }),
    ...(time !== undefined && { time }),
    ...(datacontenttype !== undefined && { dataContentType: datacontenttype }),
    verified: qeverified ?? "",
    ...(data !== undefined && { data }),
    dataBytes: data?.length ?? 0,
    ...(masked !== undefined && { masked }),
  });
}
