import { unchanged, type Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { signHead, type AuditKey } from "./anchor.ts";
import { expireUpTo, firstSince, lastAnchor, oldRecords, readStart } from "./anchor-store.ts";
import { append } from "./append.ts";
import { forEachRecord } from "./each-record.ts";
import { createRecordReader, least } from "./read-record.ts";
import { chainStart, followChain, missing, type Fault, type Head } from "./verify-chain.ts";

/** At most this many are deleted in a transaction: the organisation's other changes wait for its end. */
const batchSize = 5_000n;

/**
 * Removes the beginnings of records once it is older than the months that are kept. It goes by the chain: up to the first event
 * that is young enough, and no further than the last anchor, so that what is gone was signed, and published if there is
 * a place for that. What is removed is recomputed first, and that it was removed is signed, and an event.
 */
export function createRetention(parts: {
  database: Database;
  auditKey: AuditKey;
  /** Undefined to keep all. */
  months: number | undefined;
  /** Whether anchors are published. */
  isPublished: boolean;
  log: Log;
  now: () => Date;
}): (signal: AbortSignal) => Promise<void> {
  const { database, auditKey, months, isPublished, log, now } = parts;

  /** The part of the record that is to be removed next: behind this head, and up to the number. */
  async function nextPart(orgId: string, before: Date): Promise<{ start: Head; upTo: bigint }> {
    return database.read(orgId, async (tx) => {
      const start = (await readStart(tx, orgId)) ?? chainStart;
      const anchor = await lastAnchor(tx, orgId, { published: isPublished });
      const most = least(anchor?.seq ?? 0n, start.seq + batchSize);
      const young = await firstSince(tx, orgId, before, { after: start.seq, upTo: most });
      return { start, upTo: young === undefined ? most : young - 1n };
    });
  }

  async function recompute(orgId: string, start: Head, upTo: bigint): Promise<Head | Fault> {
    const reader = createRecordReader(database, orgId);
    let reached: Head = start;
    while (reached.seq < upTo) {
      const page = await reader.page(reached.seq, upTo);
      if ("problem" in page) return page;
      const found = page.length === 0 ? missing(reached.seq + 1n) : followChain(orgId, reached, page);
      if ("problem" in found) return found;
      reached = found;
    }
    return reached;
  }

  /** Removes the next part; false if there is none. */
  async function removePart(orgId: string, before: Date): Promise<boolean> {
    const { start, upTo } = await nextPart(orgId, before);
    if (upTo <= start.seq) return false;
    const end = await recompute(orgId, start, upTo);
    if ("problem" in end) {
      log.error(
        { orgId, seq: String(end.seq), problem: end.problem },
        "an audit record is not as it was recorded, so nothing of it is removed; see `patchbay audit verify`",
      );
      return false;
    }
    const signed = signHead(auditKey, "start", orgId, end, now());
    return database.change(orgId, async (tx) => {
      if (!(await expireUpTo(tx, signed))) return unchanged(false);
      const details = {
        firstSeq: Number(start.seq) + 1,
        lastSeq: Number(end.seq),
        before: before.toISOString(),
      };
      await append(tx, "service", { action: "audit.expire", target: orgId, details });
      return true;
    });
  }

  return async (signal) => {
    if (months === undefined) return;
    const before = monthsAgo(now(), months);
    await forEachRecord({
      find: (behind, most) => database.system((tx) => oldRecords(tx, before, { behind, most })),
      async work({ orgId }) {
        let isMore = true;
        while (isMore && !signal.aborted) isMore = await removePart(orgId, before);
      },
      failed: "old audit events could not be removed; it is tried again",
      ...{ log, signal },
    });
  };
}

/** The beginning of the month that lies this many whole months back, in UTC. */
export function monthsAgo(now: Date, months: number): Date {
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 1));
}
