import { verifyNewest } from "#src/audit/verify-newest.ts";
import { createVerifyRecord } from "#src/audit/verify-record.ts";
import type { Connection } from "#src/db/connection.ts";
import type { Database } from "#src/db/database.ts";
import { findRecords } from "../verify-audit.ts";
import { fail, ok, type Finding } from "./finding.ts";

const newestEvents = 1_000n;
const auditMs = 5_000;

/** Looks at what is newest, for a few seconds: a record of years would take minutes. */
export async function checkAudit(database: Database, owner: Connection): Promise<Finding> {
  const verifyRecord = createVerifyRecord(database);
  const end = performance.now() + auditMs;
  const mayGoOn = () => performance.now() < end;
  const orgIds = await findRecords(owner);
  let done = 0;
  for (const orgId of orgIds) {
    const verdict = await verifyNewest({ database, verifyRecord }, orgId, newestEvents, mayGoOn);
    if ("fault" in verdict) {
      const { seq, problem } = verdict.fault;
      return fail(`${orgId}, event ${seq}: ${problem}; see \`patchbay audit verify\``);
    }
    if ("next" in verdict) break;
    done++;
  }
  const covered = done < orgIds.length ? `${done} of ${orgIds.length} in ${auditMs / 1000} s` : `${done}`;
  return ok(
    `the newest ${newestEvents} events of each organisation (${covered}) are as recorded; ` +
      "`patchbay audit verify` looks at all",
  );
}
