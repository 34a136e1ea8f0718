import type { Database } from "#src/db/database.ts";
import { createRecordReader, least, type RecordReader } from "./read-record.ts";
import { createStepQueue } from "./step-queue.ts";
import { chainStart, compareHead, followChain, missing, type Fault, type Head } from "./verify-chain.ts";

/** Heads that were kept where the owner of the database could not reach them. */
export interface KeptHeads {
  /** The verification starts after it; what came before is taken as verified. */
  readonly after?: Head | undefined;
  /** The record must still hold its event. */
  readonly known?: Head | undefined;
}

/** What a verification found: the end of a record that is whole, how far it got, or the first fault. */
export type Verdict = {
  /** How many events it recomputed, and found as they were recorded. */
  readonly verified: bigint;
} & ({ readonly head: Head } | { readonly next: Head } | { readonly fault: Fault });

/** Verifies an organisation's record, for as long as it may go on. */
export type VerifyRecord = (orgId: string, kept?: KeptHeads, mayGoOn?: () => boolean) => Promise<Verdict>;

/**
 * Reads and recomputes records page by page, in a transaction for each, so that neither a connection nor the event
 * loop is held for long. Where the record ends is read first: what is appended meanwhile is not looked at.
 */
export function createVerifyRecord(database: Database): VerifyRecord {
  const inTurn = createStepQueue();

  return async (orgId, kept = {}, mayGoOn = () => true) => {
    const { after = chainStart } = kept;
    const reader = createRecordReader(database, orgId);
    const { head, fault } = await inTurn(orgId, () => lookAhead(orgId, reader, kept));
    const upTo = least(head.seq, fault?.seq ?? head.seq);
    let reached = after;
    while (reached.seq < upTo) {
      if (!mayGoOn()) return { verified: reached.seq - after.seq, next: reached };
      const found = await inTurn(orgId, () => follow(orgId, reader, reached, upTo));
      if ("problem" in found) return { verified: found.seq - 1n - after.seq, fault: found };
      reached = found;
    }
    const verified = reached.seq - after.seq;
    if (fault !== undefined) return { verified, fault };
    if (reached.hash.equals(head.hash)) return { verified, head: reached };
    return { verified, fault: { seq: head.seq, problem: "it differs from the stored head" } };
  };
}

/** Where the record ends, and the earliest fault that its ends and the kept heads show before it is recomputed. */
async function lookAhead(orgId: string, reader: RecordReader, { after = chainStart, known }: KeptHeads) {
  // Before the head: an event that is appended between the two is not one that the head forgot.
  const bounds = await reader.bounds();
  const head = await reader.head();
  if ("problem" in head) {
    return { head: after, fault: { seq: after.seq, problem: `the stored head ${head.problem}` } };
  }
  const faults = faultsOfBounds(bounds, head);
  for (const kept of [after, known]) {
    const fault = kept && (await compareKept(orgId, reader, kept, head));
    if (fault !== undefined) faults.push(fault);
  }
  return { head, fault: faults.toSorted((one, other) => (one.seq < other.seq ? -1 : 1))[0] };
}

function faultsOfBounds(bounds: Awaited<ReturnType<RecordReader["bounds"]>>, head: Head): Fault[] {
  // The founding of an organisation is its first event, so that no record is empty.
  if (bounds === undefined) return [missing(1n)];
  if ("problem" in bounds) return [{ seq: head.seq, problem: `an end of the record ${bounds.problem}` }];
  const faults: Fault[] = [];
  const { first, last } = bounds;
  if (first < 1n) faults.push({ seq: first, problem: "it stands before event 1, where every record starts" });
  if (last > head.seq) faults.push({ seq: head.seq + 1n, problem: "it comes after the stored head" });
  return faults;
}

async function compareKept(orgId: string, reader: RecordReader, kept: Head, head: Head) {
  if (kept.seq > head.seq) {
    const problem = `it is missing: the record went on to event ${kept.seq} when the known head was kept`;
    return { seq: head.seq + 1n, problem };
  }
  const page = kept.seq === 0n ? [] : await reader.page(kept.seq - 1n, kept.seq);
  return "problem" in page ? page : compareHead(orgId, kept, page[0]);
}

/** Recomputes the next page. */
async function follow(orgId: string, reader: RecordReader, reached: Head, upTo: bigint) {
  const page = await reader.page(reached.seq, upTo);
  if ("problem" in page) return page;
  return page.length === 0 ? missing(reached.seq + 1n) : followChain(orgId, reached, page);
}
