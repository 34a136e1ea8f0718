import type { KeyObject } from "node:crypto";
import type { Database } from "#src/db/database.ts";
import { isSigned, type SignedHead } from "./anchor.ts";
import { AuditExpired } from "./errors.ts";
import { createRecordReader, least, type Ends, type RecordReader } from "./read-record.ts";
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
  /** With how many anchors it compared them. */
  readonly anchors: number;
  /** Behind what the record begins. */
  readonly start: Head;
} & ({ readonly head: Head } | { readonly next: Head } | { readonly fault: Fault });

/**
 * Verifies an organisation's record, for as long as it may go on. Throws AuditExpired for a kept head of an event that
 * was removed since.
 */
export type VerifyRecord = (orgId: string, kept?: KeptHeads, mayGoOn?: () => boolean) => Promise<Verdict>;

/**
 * Reads and recomputes records page by page, in a transaction for each, so that neither a connection nor the event
 * loop is held for long. Where the record ends is read first: what is appended meanwhile is not looked at. Without the
 * key, anchors are compared with events, and their signatures are taken as good.
 */
export function createVerifyRecord(database: Database, publicKey?: KeyObject): VerifyRecord {
  const inTurn = createStepQueue();

  return async function verifyRecord(orgId, kept = {}, mayGoOn = () => true) {
    const reader = createRecordReader(database, orgId);
    const { head, start, fault } = await inTurn(orgId, () => lookAhead({ orgId, reader, publicKey }, kept));
    const { after = start } = kept;
    const upTo = least(head.seq, fault?.seq ?? head.seq);
    let reached = after;
    let anchors = 0;
    const verdict = () => ({ verified: reached.seq - after.seq, anchors, start });
    while (reached.seq < upTo) {
      if (!mayGoOn()) return { ...verdict(), next: reached };
      const found = await inTurn(orgId, () => follow({ orgId, reader, publicKey }, reached, upTo));
      if ("problem" in found) {
        // What was removed for its age meanwhile is no fault: the rest is verified from where the record begins now.
        if (await beginsBehind(reader, reached)) return verifyRecord(orgId, { known: kept.known }, mayGoOn);
        return { ...verdict(), verified: found.seq - 1n - after.seq, fault: found };
      }
      ({ reached, anchors } = { reached: found.reached, anchors: anchors + found.anchors });
    }
    if (fault !== undefined) return { ...verdict(), fault };
    if (reached.hash.equals(head.hash)) return { ...verdict(), head: reached };
    return { ...verdict(), fault: { seq: head.seq, problem: "it differs from the stored head" } };
  };
}

/** What is looked at. */
interface Subject {
  readonly orgId: string;
  readonly reader: RecordReader;
  readonly publicKey: KeyObject | undefined;
}

/** Where the record begins and ends, and the earliest fault that its ends and the kept heads show at once. */
async function lookAhead(subject: Subject, { after, known }: KeptHeads) {
  const { reader } = subject;
  // Before the head: an event that is appended between the two is not one that the head forgot.
  const ends = await reader.ends();
  const head = await reader.head();
  const start: Head = "problem" in ends ? chainStart : (ends.start ?? chainStart);
  if ("problem" in head) {
    const { seq } = after ?? start;
    return { head: after ?? start, start, fault: { seq, problem: `the stored head ${head.problem}` } };
  }
  const faults: Fault[] =
    "problem" in ends
      ? [{ seq: head.seq, problem: `an end of the record ${ends.problem}` }]
      : await faultsOfEnds(subject, ends, head);
  for (const kept of [after, known]) {
    const fault = kept && (await compareKept(subject, kept, start, head));
    if (fault !== undefined) faults.push(fault);
  }
  return { head, start, fault: faults.toSorted((one, other) => (one.seq < other.seq ? -1 : 1))[0] };
}

async function faultsOfEnds(
  { orgId, publicKey }: Subject,
  { events, start, lastAnchor }: Ends,
  head: Head,
): Promise<Fault[]> {
  const faults: Fault[] = [];
  const begins = (start ?? chainStart).seq + 1n;
  if (start !== undefined && !(await isBy(publicKey, "start", orgId, start))) {
    faults.push({ seq: begins, problem: "what came before it was removed without this service's signature" });
  }
  if (lastAnchor !== undefined && lastAnchor.seq > head.seq) {
    const problem = `it is missing: the record went on to event ${lastAnchor.seq} when it was anchored`;
    faults.push({ seq: head.seq + 1n, problem });
  }
  // The founding of an organisation, or the removal of its oldest events, is an event: no record is empty.
  if (events === undefined) return [...faults, missing(begins)];
  const { first, last } = events;
  if (first < begins) {
    faults.push({ seq: first, problem: `it stands before event ${begins}, where the record starts` });
  }
  if (last > head.seq) faults.push({ seq: head.seq + 1n, problem: "it comes after the stored head" });
  return faults;
}

async function compareKept({ orgId, reader }: Subject, kept: Head, start: Head, head: Head) {
  if (kept.seq > head.seq) {
    const problem = `it is missing: the record went on to event ${kept.seq} when the known head was kept`;
    return { seq: head.seq + 1n, problem };
  }
  if (kept.seq < start.seq) throw new AuditExpired(start.seq);
  if (kept.seq === start.seq) {
    return kept.hash.equals(start.hash) ? undefined : { seq: kept.seq, problem: differs };
  }
  const page = await reader.page(kept.seq - 1n, kept.seq);
  return "problem" in page ? page : compareHead(orgId, kept, page[0]);
}

const differs = "it differs from a known head";

/** Recomputes the next page, and compares its anchors. */
async function follow({ orgId, reader, publicKey }: Subject, after: Head, upTo: bigint) {
  const page = await reader.page(after.seq, upTo);
  if ("problem" in page) return page;
  const reached = page.length === 0 ? missing(after.seq + 1n) : followChain(orgId, after, page);
  const anchors = await reader.anchors(after.seq, page.at(-1)?.seq ?? after.seq);
  if ("problem" in anchors) return { seq: after.seq + 1n, problem: `its anchor ${anchors.problem}` };
  const hashes = new Map(page.map(({ seq, hash }) => [seq, hash]));
  for (const anchor of anchors) {
    // Events behind the fault were not recomputed.
    if ("problem" in reached && anchor.seq >= reached.seq) break;
    if (hashes.get(anchor.seq)?.equals(anchor.hash) !== true) {
      return { seq: anchor.seq, problem: "it differs from its anchor" };
    }
    if (!(await isBy(publicKey, "anchor", orgId, anchor))) {
      return { seq: anchor.seq, problem: "its anchor is not signed by this service" };
    }
  }
  return "problem" in reached ? reached : { reached, anchors: anchors.length };
}

async function isBy(
  publicKey: KeyObject | undefined,
  claim: "anchor" | "start",
  orgId: string,
  head: SignedHead,
): Promise<boolean> {
  return publicKey === undefined || isSigned(publicKey, claim, orgId, head);
}

/** Whether the beginning of the record was removed past this event. */
async function beginsBehind(reader: RecordReader, { seq }: Head): Promise<boolean> {
  const ends = await reader.ends();
  return !("problem" in ends) && ends.start !== undefined && ends.start.seq > seq;
}
