import type { Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import { signHead, type AuditKey } from "./anchor.ts";
import { claimAnchors, dueAnchors, insertAnchor, settleAnchors, type DueAnchor } from "./anchor-store.ts";
import type { AnchorSink } from "./anchor-sink.ts";
import { forEachRecord } from "./each-record.ts";
import type { VerifyRecord } from "./verify-record.ts";

/** Signs where records end, and writes that down outside. */
export interface Anchors {
  /** Signs the records that have events behind an anchor of some minutes ago. */
  sign(signal: AbortSignal): Promise<void>;
  /** Writes what was signed to where anchors are kept, if there is such a place. */
  publish(signal: AbortSignal): Promise<void>;
}

/** What the owner of the database changes is found when it is older than this. */
const everySeconds = 5 * 60;
const mostPublished = 500;
/** A record of years is signed piece by piece, so that no other waits for it. */
const maxRecordMs = 10_000;

/**
 * An anchor is signed only for events that were recomputed: each turn goes on where the last anchor stands, and finds
 * what was changed since. Replicas that look at the same time sign the same.
 */
export function createAnchors(parts: {
  database: Database;
  verifyRecord: VerifyRecord;
  auditKey: AuditKey;
  sink: AnchorSink | undefined;
  meter: Meter;
  log: Log;
  now: () => Date;
  monotonicNow: () => number;
}): Anchors {
  const { database, verifyRecord, auditKey, sink, log, now, monotonicNow } = parts;
  const count = parts.meter.counter({
    name: "patchbay_audit_anchors_total",
    help: "Anchors of audit records, by what became of them; a fault is a record that is not as it was recorded.",
    labels: ["outcome"],
    awaited: [{ outcome: "fault" }],
  });

  async function signOne({ orgId, seq, hash }: DueAnchor, signal: AbortSignal): Promise<void> {
    const end = monotonicNow() + maxRecordMs;
    const after = seq === 0n ? undefined : { seq, hash };
    const verdict = await verifyRecord(orgId, { after }, () => !signal.aborted && monotonicNow() < end);
    if ("fault" in verdict) {
      count({ outcome: "fault" });
      log.error(
        { orgId, seq: String(verdict.fault.seq), problem: verdict.fault.problem },
        "an audit record is not as it was recorded, and is not anchored; see `patchbay audit verify`",
      );
      return;
    }
    const head = "head" in verdict ? verdict.head : verdict.next;
    if (head.seq === seq) return;
    const anchor = signHead(auditKey, "anchor", orgId, head, now());
    await database.record(orgId, (tx) => insertAnchor(tx, orgId, anchor));
    count({ outcome: "signed" });
  }

  return {
    sign: (signal) =>
      forEachRecord({
        find: (behind, most) =>
          database.system((tx) => dueAnchors(tx, now(), everySeconds, { behind, most })),
        work: (due) => signOne(due, signal),
        failed: "an audit record could not be anchored; it is tried again",
        ...{ log, signal },
      }),

    async publish(signal) {
      while (sink !== undefined && !signal.aborted) {
        const claimed = await database.system((tx) => claimAnchors(tx, mostPublished));
        if (claimed.length === 0) return;
        await sink.write(claimed, signal);
        // A replica that ends before this leaves them to another, which writes them a second time.
        await database.system((tx) => settleAnchors(tx, claimed, now()));
        count({ outcome: "published" }, claimed.length);
      }
    },
  };
}
