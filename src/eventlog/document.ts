import { isUtf8 } from "node:buffer";
import { longLength, piecesOfBytes, piecesOfString } from "#src/json/pieces.ts";
import { walkJson } from "#src/json/walk.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import type { LoggedEvent } from "./event.ts";

/** Attributes by their names. */
type Attributes = Readonly<Record<string, string>>;

/** One event goes to many readers. */
const dataMembers = new WeakMap<LoggedEvent, Promise<readonly Buffer[]>>();

/**
 * The event as one JSON document, which is an event of CloudEvents 1.0 and a payload of Standard Webhooks at once. Its
 * data stands there as the bytes that came, wherever a JSON document can hold them: parsed and written again, they may
 * differ. `also` is what its reader is told beside that, or instead.
 */
export async function documentOf(event: LoggedEvent, also: Attributes = {}): Promise<Buffer> {
  const data = dataMembers.get(event) ?? inTurns(dataMember(event));
  dataMembers.set(event, data);
  const attributes = { ...attributesOf(event, also), timestamp: happenedAt(event) };
  const head = JSON.stringify(attributes).slice(0, -1);
  return Buffer.concat([Buffer.from(head), ...(await data), Buffer.from("}")]);
}

/** The attributes of CloudEvents 1.0. Ours come last: no sender gives an event another number, log or proof. */
export function attributesOf(event: LoggedEvent, also: Attributes) {
  const { id, source, type, subject, time, contentType, extensions, verified, masked } = event;
  // No extension has these names, and the data would be there twice.
  const { data: _, data_base64: __, ...further } = extensions;
  return {
    ...further,
    specversion: "1.0",
    ...{ id, source, type },
    ...(subject !== undefined && { subject }),
    ...(time !== undefined && { time }),
    ...(contentType !== undefined && event.data !== undefined && { datacontenttype: contentType }),
    ...{ qelog: event.log, qeseq: event.seq, qereceived: event.receivedAt.toISOString() },
    qeverified: verified,
    ...(masked !== undefined && { qemasked: masked }),
    ...also,
  };
}

function* dataMember({ data, contentType = "" }: LoggedEvent): LongWork<readonly Buffer[]> {
  if (data === undefined) return [];
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const isText = isUtf8(data);
  if (data.length > longLength) yield;
  const isSaidToBeJson = /^[^/]+\/(?:[^/]+\+)?json$/.test(mediaType);
  if (isText && isSaidToBeJson && (yield* isJson(data))) return [Buffer.from(',"data":'), data];
  if (isText && mediaType.startsWith("text/")) {
    return yield* inPieces(',"data":', piecesOfString(data.toString()));
  }
  return yield* inPieces(',"data_base64":', piecesOfBytes(data));
}

function* inPieces(name: string, pieces: Iterable<Buffer>): LongWork<readonly Buffer[]> {
  const all: Buffer[] = [Buffer.from(name)];
  for (const piece of pieces) {
    all.push(piece);
    if (piece.length >= longLength) yield;
  }
  return all;
}

/** What is no JSON would break out of its place in the document, and could pass for attributes of the event. */
function* isJson(data: Buffer): LongWork<boolean> {
  const text = data.toString();
  if (data.length > longLength) yield;
  try {
    yield* walkJson(text, { maxDepth: 1_000, allowsNul: true, anyNumber: true });
    return true;
  } catch (error) {
    if (error instanceof InvalidRequest) return false;
    throw error;
  }
}

/** When it happened, if that can be read; else when it came. */
function happenedAt({ time = "", receivedAt }: LoggedEvent): string {
  const at = Date.parse(time);
  return (Number.isNaN(at) ? receivedAt : new Date(at)).toISOString();
}
