import type { Database } from "#src/db/database.ts";
import { createRecordReader } from "./read-record.ts";
import { missing } from "./verify-chain.ts";
import type { Verdict, VerifyRecord } from "./verify-record.ts";

/** Verifies a record's newest events only, and takes its own word for what came before them. */
export async function verifyNewest(
  parts: { database: Database; verifyRecord: VerifyRecord },
  orgId: string,
  count: bigint,
  mayGoOn: () => boolean,
): Promise<Verdict> {
  const { database, verifyRecord } = parts;
  const reader = createRecordReader(database, orgId);
  const head = await reader.head();
  if ("problem" in head || head.seq <= count) return verifyRecord(orgId, {}, mayGoOn);
  const seq = head.seq - count;
  const page = await reader.page(seq - 1n, seq);
  if ("problem" in page) return { verified: 0n, fault: page };
  const hash = page[0]?.hash ?? undefined;
  if (hash === undefined) return { verified: 0n, fault: missing(seq) };
  return verifyRecord(orgId, { after: { seq, hash } }, mayGoOn);
}
