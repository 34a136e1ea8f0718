import { createHash } from "node:crypto";

/** One event as it is stored: as it was recorded, or as the owner of the table left it, who can allow any null. */
export interface StoredEvent {
  readonly orgId: string;
  readonly seq: bigint;
  readonly at: Date | null;
  readonly action: string | null;
  readonly target: string | null;
  readonly apiKeyId: string | null;
  readonly userId: string | null;
  readonly requestId: string | null;
  /** The stored text, byte by byte. */
  readonly details: string | null;
  readonly previousHash: Buffer | null;
  readonly hash: Buffer | null;
}

/** Where a chain ends, or ended when the head was kept. */
export interface Head {
  readonly seq: bigint;
  readonly hash: Buffer;
}

/** What is wrong with a record, in words. */
export interface Fault {
  readonly seq: bigint;
  readonly problem: string;
}

/** Where every chain starts: before its first event. */
export const chainStart: Head = { seq: 0n, hash: Buffer.alloc(32) };

/**
 * Recomputes the next events of one organisation's chain, in the order of their seq. Answers how far the chain is
 * whole, from where the following events are checked in the same way, or the first fault.
 */
export function followChain(orgId: string, after: Head, events: readonly StoredEvent[]): Head | Fault {
  let previous = after;
  for (const event of events) {
    const seq = previous.seq + 1n;
    if (event.seq !== seq) return missing(seq);
    if (event.previousHash?.equals(previous.hash) !== true)
      return { seq, problem: "it does not follow the previous event" };
    const hash = hashOf(orgId, event);
    if (event.hash?.equals(hash) !== true) return { seq, problem: "it was changed after it was recorded" };
    previous = { seq, hash };
  }
  return previous;
}

/** Says that there is no such event, or that another one stands in its place. */
export function missing(seq: bigint): Fault {
  return { seq, problem: "it is missing, or out of order" };
}

/**
 * Compares a head that was kept elsewhere with the event that it is of. A chain whose tail was cut, or that was
 * written anew from some event on, is whole in itself; only such a head shows it.
 */
export function compareHead(
  orgId: string,
  { seq, hash }: Head,
  event: StoredEvent | undefined,
): Fault | undefined {
  if (seq === 0n && hash.equals(chainStart.hash)) return undefined;
  if (seq !== 0n && event === undefined) return missing(seq);
  if (event !== undefined && hash.equals(hashOf(orgId, event))) return undefined;
  return { seq, problem: "it differs from a known head" };
}

/** The same as `audit_append` in drizzle/0001_row_security.sql computes. */
function hashOf(orgId: string, event: StoredEvent): Buffer {
  const hash = createHash("sha256").update(event.previousHash ?? "");
  const { seq, at, action, target, apiKeyId, userId, requestId, details } = event;
  const fields = [String(seq), String(at?.getTime()), action, target, apiKeyId, userId, requestId, details];
  for (const field of ["audit.v1", orgId, ...fields]) {
    const bytes = field === null ? Buffer.alloc(0) : Buffer.from(field, "utf8");
    const length = Buffer.alloc(4);
    length.writeInt32BE(field === null ? -1 : bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest();
}
