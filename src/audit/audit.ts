import { AuditService } from "#gen/patchbay/audit/v1/audit_service_pb.js";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import type { Meter } from "#src/platform/meter.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createAnchorSink } from "./anchor-sink.ts";
import { createAnchors } from "./anchors.ts";
import { createExportRoute } from "./export-route.ts";
import { createRetention } from "./retention.ts";
import { createAuditService } from "./service.ts";
import { createVerifyRecord } from "./verify-record.ts";

const lookEveryMs = 60_000;

type AuditParts = Omit<Parameters<typeof createAuditService>[0], "verifyRecord"> & {
  readonly outbound: Parameters<typeof createAnchorSink>[1];
  readonly auditAnchors: string | undefined;
  readonly auditRetentionMonths: number | undefined;
  readonly meter: Meter;
  readonly log: Log;
  readonly now: () => Date;
};

/** The record of changes: what is asked of it, and what is done with it while nobody asks. */
export function createAudit(parts: AuditParts): Feature & { readonly upkeep: Loop } {
  const { database, auditKey, log } = parts;
  const verifyRecord = createVerifyRecord(database, auditKey.publicKey);
  const sink = createAnchorSink(parts.auditAnchors, parts.outbound);
  const anchors = createAnchors({ ...parts, verifyRecord, sink });
  const expire = createRetention({
    ...parts,
    months: parts.auditRetentionMonths,
    isPublished: sink !== undefined,
  });
  return {
    services: [serve(AuditService, createAuditService({ ...parts, verifyRecord }))],
    rawRoutes: [createExportRoute(parts)],
    upkeep: createLoop({
      name: "the upkeep of audit records",
      everyMs: lookEveryMs,
      async work(signal) {
        await anchors.sign(signal);
        try {
          await anchors.publish(signal);
        } finally {
          // A place that is away keeps records neither from being signed nor, where they were published, from this.
          await expire(signal);
        }
      },
      log,
    }),
  };
}
