import { isUtf8 } from "node:buffer";
import { walkJson } from "#src/json/walk.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import type { LoggedEvent } from "./event.ts";

/** One event goes to many readers. */
const documents = new WeakMap<LoggedEvent, Promise<Buffer>>();

/**
 * The event as one JSON document, which is an event of CloudEvents 1.0 and a payload of Standard Webhooks at once. Its
 * data stands there as the bytes that came, wherever a JSON document can hold them.
 */
export function documentOf(event: LoggedEvent): Promise<Buffer> {
  const document = documents.get(event) ?? write(event);
  documents.set(event, document);
  return document;
}

async function write(event: LoggedEvent): Promise<Buffer> {
  const head = JSON.stringify({ ...attributesOf(event), timestamp: happenedAt(event) }).slice(0, -1);
  return Buffer.concat([Buffer.from(head), ...(await dataMember(event)), Buffer.from("}")]);
}

/** The attributes of CloudEvents 1.0. Ours come last: no sender gives an event another number, log or proof. */
function attributesOf(event: LoggedEvent) {
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
  };
}

async function dataMember({ data, contentType = "" }: LoggedEvent): Promise<Buffer[]> {
  if (data === undefined) return [];
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (isUtf8(data)) {
    const isSaidToBeJson = /^[^/]+\/(?:[^/]+\+)?json$/.test(mediaType);
    if (isSaidToBeJson && (await isJson(data))) return [Buffer.from(',"data":'), data];
    if (mediaType.startsWith("text/")) return [Buffer.from(`,"data":${JSON.stringify(data.toString())}`)];
  }
  return [Buffer.from(`,"data_base64":"${data.toString("base64")}"`)];
}

/** What is no JSON would break out of its place in the document, and could pass for attributes of the event. */
async function isJson(data: Buffer): Promise<boolean> {
  try {
    await inTurns(walkJson(data.toString(), { maxDepth: 1_000, allowsNul: true, anyNumber: true }));
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
