import type { Database } from "#src/db/database.ts";
import { createRecordReader } from "./read-record.ts";
import { chainStart, missing } from "./verify-chain.ts";
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
  const ends = await reader.ends();
  if ("problem" in head || "problem" in ends) return verifyRecord(orgId, {}, mayGoOn);
  const seq = head.seq - count;
  const start = ends.start ?? chainStart;
  if (seq <= start.seq) return verifyRecord(orgId, {}, mayGoOn);
  const page = await reader.page(seq - 1n, seq);
  const nothing = { verified: 0n, anchors: 0, start };
  if ("problem" in page) return { ...nothing, fault: page };
  const hash = page[0]?.hash ?? undefined;
  if (hash === undefined) return { ...nothing, fault: missing(seq) };
  return verifyRecord(orgId, { after: { seq, hash } }, mayGoOn);
}
