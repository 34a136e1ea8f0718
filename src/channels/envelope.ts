import { hash, randomUUID } from "node:crypto";
import { attributeFrom, isAttribute, isTime, longestAttribute } from "./attributes.ts";
import { receiptKey, type ReadEvent } from "./cloudevents.ts";
import { placesIn, type PlacedValue } from "./json-places.ts";
import { scalarAt } from "./json-spans.ts";
import { signsId, type Place, type Preset } from "./preset.ts";
import type { Receiving } from "./receiving.ts";
import { headerOf, type HeaderLines } from "./signatures/request.ts";

/** Headers that are stored of every sender. None by which one proves itself is among them. */
const storedOfAll = ["user-agent", "x-qe-hops"];
const longestForm = 64 * 1024;

/** What is looked for in a body: the values of its JSON, or the fields of its form. */
export interface ReadBody {
  readonly body: Buffer;
  readonly found: readonly PlacedValue[];
  readonly form: URLSearchParams | undefined;
}

/**
 * Looks for what the channel's preset names in a body. Whether that is JSON, its bytes say: what it is called is under
 * no signature, and by another name its secrets would not be found. Of what is no JSON, a form has fields.
 */
export async function readBody(
  { places }: Pick<Receiving, "places">,
  headers: HeaderLines,
  body: Buffer,
): Promise<ReadBody> {
  const found = places.children.size === 0 ? undefined : await placesIn(body, places);
  const isForm = /^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(
    headerOf(headers, "content-type") ?? "",
  );
  const isRead = isForm && found === undefined && body.length <= longestForm;
  return { body, found: found ?? [], form: isRead ? new URLSearchParams(body.toString("utf8")) : undefined };
}

/** The event that a vendor's request is: the body as it came, described as the vendor's preset says. */
export function eventOf(preset: Preset, headers: HeaderLines, read: ReadBody): ReadEvent {
  const at = (place: Place | undefined) => place && textAt(place, headers, read);
  const id = at(preset.id);
  const { data, masked } = maskedBody(preset, read);
  return {
    id: id === undefined || id === "" ? randomUUID() : attributeFrom("id", id),
    source: preset.source,
    type: preset.type.map(at).find(isUsable) ?? preset.defaultType,
    subject: [at(preset.subject)].find(isUsable),
    time: timeOf(preset, at(preset.time)),
    contentType: [headerOf(headers, "content-type")].find(isUsable),
    extensions: storedHeaders(preset, headers),
    ...{ masked, data },
    key: id === undefined || id === "" ? undefined : keyOf(preset, id, read.body),
  };
}

function isUsable(text: string | undefined): text is string {
  return text !== undefined && text.length <= longestAttribute && isAttribute(text);
}

function textAt(place: Place, headers: HeaderLines, { body, found, form }: ReadBody): string | undefined {
  if ("header" in place) return headerOf(headers, place.header);
  if ("formField" in place) return form?.get(place.formField) ?? undefined;
  // Of two members of one name, the last is the one that parsers take.
  const value = found.findLast(({ wanted }) => wanted === place.pointer);
  return value && scalarAt(body, value);
}

function timeOf({ time }: Preset, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (time?.unit === undefined) return isTime(text) ? text : undefined;
  if (!/^\d{1,13}(?:\.\d{1,9})?$/.test(text)) return undefined;
  const date = new Date(Number(text) * (time.unit === "s" ? 1000 : 1));
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/**
 * What the event is known again by. An id that is under no signature could be put onto another signed body, which would
 * then be taken for a repetition and be lost: such a one is known again only together with its body.
 */
function keyOf(preset: Preset, id: string, body: Buffer): Buffer {
  if (signsId(preset)) return receiptKey(preset.source, id);
  return receiptKey(preset.source, id, hash("sha256", body, "hex"));
}

function storedHeaders({ headers: names }: Preset, headers: HeaderLines): Record<string, string> {
  return Object.fromEntries(
    [...storedOfAll, ...names].flatMap((name) => {
      const value = headerOf(headers, name);
      // Attributes of CloudEvents are named with letters and digits alone.
      return isUsable(value) ? [[name.replaceAll("-", ""), value]] : [];
    }),
  );
}

const mask = Buffer.from('"***"');

/** The body without the secrets that its preset knows of; every other byte is as it came. */
function maskedBody(
  preset: Preset,
  { body, found }: ReadBody,
): { data: Buffer | undefined; masked: string | undefined } {
  if (body.length === 0) return { data: undefined, masked: undefined };
  const secrets = found.filter(({ wanted }) => preset.masked.includes(wanted));
  if (secrets.length === 0) return { data: body, masked: undefined };
  const pieces: Buffer[] = [];
  let end = 0;
  for (const secret of secrets.toSorted((a, b) => a.start - b.start)) {
    pieces.push(body.subarray(end, secret.start), mask);
    end = secret.end;
  }
  pieces.push(body.subarray(end));
  const pointers = new Set(secrets.map(({ wanted }) => wanted));
  return { data: Buffer.concat(pieces), masked: [...pointers].join(" ") };
}
