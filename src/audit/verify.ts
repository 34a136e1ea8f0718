import { createHash } from "node:crypto";

/** One event as it is stored. */
export interface StoredEvent {
  readonly orgId: string;
  readonly seq: number;
  readonly at: Date;
  readonly action: string;
  readonly target: string;
  readonly apiKeyId: string | null;
  readonly userId: string | null;
  readonly requestId: string | null;
  /** The stored text, byte by byte. */
  readonly details: string;
  readonly previousHash: Buffer;
  readonly hash: Buffer;
}

/** Where a chain ends, or ended when the head was exported. */
export interface Head {
  readonly seq: number;
  readonly hash: Buffer;
}

/** What is wrong with a record, in words. */
export interface Fault {
  readonly seq: number;
  readonly problem: string;
}

const firstPreviousHash: Buffer = Buffer.alloc(32);

/**
 * Recomputes the whole chain of one organisation, events ordered by seq, and compares it with its heads: the
 * stored one, and any that were exported to where the database's owner could not reach them. A chain whose
 * tail was cut, or that was written anew from some event on, is whole in itself; only a head shows it.
 */
export function verify(
  orgId: string,
  events: readonly StoredEvent[],
  heads: readonly Head[],
): Fault | undefined {
  let previous: Head = { seq: 0, hash: firstPreviousHash };
  const hashes = new Map<number, Buffer>([[0, firstPreviousHash]]);
  for (const event of events) {
    const seq = previous.seq + 1;
    if (event.seq !== seq) return { seq, problem: `event ${seq} is missing, or out of order` };
    if (!event.previousHash.equals(previous.hash))
      return { seq, problem: "it does not follow the event before" };
    if (!event.hash.equals(hashOf(orgId, event)))
      return { seq, problem: "it was changed after it was recorded" };
    previous = event;
    hashes.set(seq, event.hash);
  }
  for (const head of heads) {
    const found = hashes.get(head.seq);
    if (found === undefined) return { seq: head.seq, problem: "the events up to a known head are missing" };
    if (!found.equals(head.hash)) return { seq: head.seq, problem: "it differs from a known head" };
  }
  return undefined;
}

/** The same as `audit_append` in drizzle/0001_row_security.sql computes. */
function hashOf(orgId: string, event: StoredEvent): Buffer {
  const hash = createHash("sha256").update(event.previousHash);
  const { seq, at, action, target, apiKeyId, userId, requestId, details } = event;
  const fields = [String(seq), String(at.getTime()), action, target, apiKeyId, userId, requestId, details];
  for (const field of ["audit.v1", orgId, ...fields]) {
    const bytes = field === null ? Buffer.alloc(0) : Buffer.from(field, "utf8");
    const length = Buffer.alloc(4);
    length.writeInt32BE(field === null ? -1 : bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest();
}
