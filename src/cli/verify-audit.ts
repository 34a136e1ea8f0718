import { createVerifyRecord, type Verdict } from "#src/audit/verify-record.ts";
import type { Config } from "#src/config/config.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { dueMigrations } from "#src/db/migrate.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { joinPostgres } from "./postgres.ts";
import { parseHead } from "./known-head.ts";
import { counted } from "./print.ts";
import { readPublicKey } from "./public-key.ts";
import { requireData } from "./root-key.ts";

/** Which records are meant, and what is known of one of them. */
interface WantedRecords {
  readonly orgId: string | undefined;
  /** `seq:hash`, as an earlier verification printed it. */
  readonly head: string | undefined;
  /** A file with the key that signs anchors. Without one, their signatures are taken as good. */
  readonly publicKey: string | undefined;
}

/** `patchbay audit verify`: a line on stdout for each organisation; answers whether all records are whole. */
export async function verifyAudit(config: Config, wanted: WantedRecords): Promise<boolean> {
  const known = parseHead(wanted.head);
  const publicKey = await readPublicKey(wanted.publicKey);
  await using opened = new AsyncDisposableStack();
  const { database, orgIds } = await openRecords(config, opened);
  const chosen = chooseRecords(orgIds, wanted);
  const verifyRecord = createVerifyRecord(database, publicKey);
  let isWhole = true;
  for (const orgId of chosen) {
    const verdict = await verifyRecord(orgId, { known });
    isWhole &&= !("fault" in verdict);
    process.stdout.write(`${"fault" in verdict ? "FAULT" : "ok   "}  ${orgId}  ${describe(verdict)}\n`);
  }
  return isWhole;
}

/** Beside a running service if there is one. It needs no root key and changes nothing: records are not sealed. */
async function openRecords(config: Config, opened: AsyncDisposableStack) {
  await requireData(config);
  const log = createLog("warn", fileDescriptor(2));
  const { url } = opened.use(await joinPostgres(config, log));
  const due = await dueMigrations({ url, log });
  if (due.length > 0) throw new Error(`the database lacks ${due.join(", ")}: start the service once`);
  await using owner = openConnection(url, { application_name: "patchbay" });
  const orgIds = await findRecords(owner);
  const database = createDatabase({ url, log });
  opened.defer(() => database.close());
  return { database, orgIds };
}

/** Of all organisations, and of those that are no more. Asked as owner: nobody else sees all. */
export async function findRecords(owner: Connection): Promise<string[]> {
  const rows = await owner.run("select id from orgs union select org_id from audit_heads order by 1");
  return rows.map((row) => String(row["id"]));
}

function chooseRecords(orgIds: readonly string[], { orgId, head }: WantedRecords): readonly string[] {
  const chosen = orgId === undefined ? orgIds : orgIds.filter((id) => id === orgId);
  if (chosen.length === 0)
    throw new Error(orgId === undefined ? "there is no organisation yet" : `--org: there is no ${orgId}`);
  if (head !== undefined && chosen.length > 1) {
    throw new Error(`--head: say with --org whose it is; there are ${chosen.join(", ")}`);
  }
  return chosen;
}

function describe(verdict: Verdict): string {
  if ("fault" in verdict) return `event ${verdict.fault.seq}: ${verdict.fault.problem}`;
  const { seq, hash } = "head" in verdict ? verdict.head : verdict.next;
  const { verified, anchors, start } = verdict;
  return [
    `${verified} events`,
    ...(start.seq > 0n ? [`behind event ${start.seq}, since older ones were removed`] : []),
    ...(anchors > 0 ? [counted(anchors, "anchor")] : []),
    `head ${seq}:${hash.toString("hex")}`,
  ].join(", ");
}
