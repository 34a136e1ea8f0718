import type { Database } from "#src/db/database.ts";
import {
  exportBehind,
  isSigned,
  signedToJson,
  signHead,
  timeText,
  type AuditKey,
  type SignedHead,
} from "./anchor.ts";
import { readStart } from "./anchor-store.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { csvRecord } from "./csv.ts";
import { AuditExpired } from "./errors.ts";
import { createRecordReader } from "./read-record.ts";
import { boundsOf, readHead, type Period } from "./store.ts";
import { chainStart, followChain, missing, type Fault, type Head, type StoredEvent } from "./verify-chain.ts";

/** What an export writes, in one format. */
export interface ExportFormat {
  readonly contentType: string;
  header(orgId: string, range: ExportRange): string;
  event(event: StoredEvent): string;
  anchor(orgId: string, anchor: SignedHead): string;
  end(orgId: string, end: ExportEnd): string;
}

/** The part of a record that is exported: behind one event, up to another. */
export interface ExportRange {
  readonly from: Head;
  readonly upTo: bigint;
  /** The signed beginning of the record, if the part begins there. */
  readonly start: SignedHead | undefined;
}

/** How an export ended. */
export interface ExportEnd {
  readonly events: bigint;
  /** The last event, signed if all are as they were recorded. */
  readonly head: Head | SignedHead;
  /** The first thing that is not as it was recorded. */
  readonly fault: Fault | undefined;
  /** Whether that fault, or another, kept the rest from being read. */
  readonly isCut: boolean;
}

/** Which part is wanted. */
export interface WantedPart extends Period {
  readonly after: bigint | undefined;
}

/**
 * The part of the record that is wanted. A time is the part from its first event to its last: between the two, a clock
 * that was set back may have left events of another time, which the chain needs.
 */
export async function exportRange(
  database: Database,
  orgId: string,
  { after, ...period }: WantedPart,
): Promise<ExportRange> {
  const { start, head, times } = await database.read(orgId, async (tx) => ({
    start: await readStart(tx, orgId),
    head: await readHead(tx, orgId),
    times: await boundsOf(tx, orgId, period),
  }));
  const begins = start?.seq ?? 0n;
  if (after !== undefined && after < begins) throw new AuditExpired(begins);
  if (after !== undefined && after > head.seq) {
    throw new InvalidRequest(`after: the record ends with event ${head.seq}`);
  }
  const behind = after ?? begins;
  // Without an end, what is recorded meanwhile belongs to it: the event of the export itself, too.
  if (times === "empty") return rangeFrom(behind, behind);
  const first = period.since === undefined || times === undefined ? behind : most(behind, times.first - 1n);
  return rangeFrom(first, period.until === undefined || times === undefined ? head.seq : times.last);

  async function rangeFrom(seq: bigint, upTo: bigint): Promise<ExportRange> {
    if (start !== undefined && seq === start.seq) return { from: start, upTo, start };
    if (seq === 0n) return { from: chainStart, upTo, start: undefined };
    const page = await createRecordReader(database, orgId).page(seq - 1n, seq);
    // One that cannot be read is a fault of the first event, which does not follow it.
    const hash = ("problem" in page ? undefined : page[0]?.hash) ?? chainStart.hash;
    return { from: { seq, hash }, upTo, start: undefined };
  }
}

function most(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}

/**
 * Exports a part of a record, page by page in a transaction for each: whoever reads slowly holds none open. Events never
 * change, so that it is one record all the same. Each event and anchor is checked on the way; the end is signed if all
 * are as they were recorded.
 */
export async function* exportRecord(
  parts: { database: Database; auditKey: AuditKey; now: () => Date },
  orgId: string,
  range: ExportRange,
  format: ExportFormat,
): AsyncGenerator<string, void, undefined> {
  const { database, auditKey, now } = parts;
  const reader = createRecordReader(database, orgId);
  let reached: Head = range.from;
  let fault = await faultOfStart();
  let [read, events] = [range.from.seq, 0n];
  yield format.header(orgId, range);
  while (read < range.upTo) {
    const page = await reader.page(read, range.upTo);
    const found = "problem" in page ? page : checked(page);
    if ("problem" in found) {
      fault ??= found;
      // What is removed for its age meanwhile would look like damage.
      const ends = await reader.ends();
      if (!("problem" in ends) && ends.start !== undefined && ends.start.seq > read)
        throw new AuditExpired(ends.start.seq);
    } else reached = found;
    if ("problem" in page || page.length === 0) break;
    const last = page.at(-1)?.seq ?? range.upTo;
    const anchors = await reader.anchors(read, last);
    const lines = [];
    const anchorAt = new Map("problem" in anchors ? [] : anchors.map((anchor) => [anchor.seq, anchor]));
    for (const event of page) {
      lines.push(format.event(event));
      const anchor = anchorAt.get(event.seq);
      if (anchor === undefined) continue;
      lines.push(format.anchor(orgId, anchor));
      fault ??= await faultOf(event, anchor);
    }
    [read, events] = [last, events + BigInt(page.length)];
    yield lines.join("");
  }
  const claim = exportBehind(range.from);
  const head = fault === undefined ? signHead(auditKey, claim, orgId, reached, now()) : reached;
  yield format.end(orgId, { events, head, fault, isCut: read < range.upTo });

  function checked(page: readonly StoredEvent[]): Head | Fault {
    if (fault !== undefined) return fault;
    return page.length === 0 ? missing(read + 1n) : followChain(orgId, reached, page);
  }

  async function faultOfStart(): Promise<Fault | undefined> {
    const { start } = range;
    if (start === undefined || (await isSigned(auditKey.publicKey, "start", orgId, start))) return undefined;
    return {
      seq: start.seq + 1n,
      problem: "what came before it was removed without this service's signature",
    };
  }

  async function faultOf({ seq, hash }: StoredEvent, anchor: SignedHead): Promise<Fault | undefined> {
    if (hash?.equals(anchor.hash) !== true) return { seq, problem: "it differs from its anchor" };
    const isOurs = await isSigned(auditKey.publicKey, "anchor", orgId, anchor);
    return isOurs ? undefined : { seq, problem: "its anchor is not signed by this service" };
  }
}

const line = (value: object) => `${JSON.stringify(value)}\n`;

/** Lines of JSON with all that a verification needs beside the public key, which must come from elsewhere. */
export const ndjson: ExportFormat = {
  contentType: "application/x-ndjson",
  header: (orgId, { from, start }) =>
    line({
      ...{ type: "export", version: 1, orgId, from: headToJson(from) },
      ...(start !== undefined && { start: signedToJson(orgId, start) }),
    }),
  event: (event) => line({ type: "event", ...eventToJson(event) }),
  anchor: (orgId, anchor) => line({ type: "anchor", ...signedToJson(orgId, anchor) }),
  end: (orgId, { events, head, fault }) =>
    line({
      ...{ type: "end", events: Number(events) },
      ...("signature" in head ? signedToJson(orgId, head) : { orgId, ...headToJson(head) }),
      ...(fault !== undefined && { fault: { seq: Number(fault.seq), problem: fault.problem } }),
    }),
};

const columns = ["seq", "at", "action", "target", "api_key_id", "user_id", "request_id", "details"];

/** For spreadsheets. It cannot be verified. */
export const csv: ExportFormat = {
  contentType: "text/csv; charset=utf-8; header=present",
  header: () => csvRecord(columns),
  event({ seq, at, action, target, apiKeyId, userId, requestId, details }) {
    return csvRecord([String(seq), timeText(at), action, target, apiKeyId, userId, requestId, details]);
  },
  anchor: () => "",
  end(orgId, { head, fault, isCut }) {
    // The last line is no other than the rest: without this, it would look like the end of the record.
    if (isCut) {
      throw new Error(
        `the record of ${orgId} cannot be exported behind event ${head.seq}: ${fault?.problem}`,
      );
    }
    return "";
  },
};

function headToJson({ seq, hash }: Head) {
  return { seq: Number(seq), hash: hash.toString("hex") };
}

/** `details` is the recorded text, not the value: its very bytes are what was hashed. */
function eventToJson(event: StoredEvent) {
  const { seq, at, action, target, apiKeyId, userId, requestId, details, previousHash, hash } = event;
  return {
    ...{ seq: Number(seq), at: timeText(at), action, target, apiKeyId, userId, requestId, details },
    previousHash: previousHash?.toString("hex") ?? null,
    hash: hash?.toString("hex") ?? null,
  };
}
