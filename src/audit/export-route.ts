import type { Database } from "#src/db/database.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { targetOf } from "#src/platform/http.ts";
import { pacedWriter } from "#src/platform/paced-writer.ts";
import type { RawRoute } from "#src/platform/raw-route.ts";
import type { AuditKey } from "./anchor.ts";
import { append } from "./append.ts";
import { WholeRecordOnly } from "./errors.ts";
import { csv, exportRange, exportRecord, ndjson } from "./export.ts";
import { readExportRequest } from "./export-request.ts";

const path = "/api/audit/export";
const recheckMs = 1_000;

/** Sends the audit record as a file, however long it is. That it was sent is an event, and the last one in it. */
export function createExportRoute(parts: {
  database: Database;
  auditKey: AuditKey;
  now: () => Date;
  monotonicNow: () => number;
}): RawRoute {
  const { database, monotonicNow } = parts;
  return {
    name: "AuditExport",
    scope: "audit:view",
    auditActions: ["audit.export"],
    hasForeignQuery: false,
    headers: {},
    matches: (asked) => asked === path,

    async serve(exchange) {
      const { request, response, call, caller } = exchange;
      if (request.method !== "GET") throw new InvalidRequest(`${path} takes GET only`);
      const { orgId } = caller;
      const { format, ...wanted } = readExportRequest(targetOf(request).query);
      // A chain without some of its events is none, and cannot be verified.
      if (caller.connections !== undefined) throw new WholeRecordOnly();
      // Before it is recorded: one that is refused is none.
      const { from } = await exportRange(database, orgId, wanted);
      const { since = null, until = null } = wanted;
      const details = { format, after: Number(from.seq), since, until };
      await database.change(orgId, (tx) =>
        append(tx, call, { action: "audit.export", target: orgId, details }),
      );
      const range = await exportRange(database, orgId, wanted);
      const kind = format === "csv" ? csv : ndjson;
      const write = pacedWriter(exchange, {
        headers: {
          "content-type": kind.contentType,
          "content-disposition": `attachment; filename="audit-${orgId}.${format}"`,
        },
        monotonicNow,
      });
      let checkedAt = monotonicNow();
      for await (const piece of exportRecord(parts, orgId, range, kind)) {
        if (piece === "") continue;
        await write(piece);
        if (monotonicNow() - checkedAt < recheckMs) continue;
        await call.recheck?.();
        checkedAt = monotonicNow();
      }
      response.end();
    },
  };
}
