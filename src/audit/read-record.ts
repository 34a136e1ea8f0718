import type { Database } from "#src/db/database.ts";
import { DatabaseError } from "#src/db/errors.ts";
import type { SignedHead } from "./anchor.ts";
import { lastAnchor, readAnchors, readStart } from "./anchor-store.ts";
import { readBounds, readChain, readHead } from "./store.ts";
import type { Fault, Head, StoredEvent } from "./verify-chain.ts";

/** Reads one organisation's record for a verification, which what Postgres cannot read any more must not fail. */
export interface RecordReader {
  ends(): Promise<Ends | Damage>;
  head(): Promise<Head | Damage>;
  /** The anchors of events behind one and up to another. */
  anchors(after: bigint, upTo: bigint): Promise<readonly SignedHead[] | Damage>;
  /** The next events after one and up to another, at least one if there is one. */
  page(after: bigint, upTo: bigint): Promise<readonly StoredEvent[] | Fault>;
}

/** Where the events of a record begin and end, and where it is said that they do. */
export interface Ends {
  /** The lowest and the highest number; undefined if there are none. */
  readonly events: { readonly first: bigint; readonly last: bigint } | undefined;
  /** Behind what the record begins, if older events were removed. */
  readonly start: SignedHead | undefined;
  readonly lastAnchor: SignedHead | undefined;
}

/** That something cannot be read, in words. */
export interface Damage {
  readonly problem: string;
}

const firstPageEvents = 100n;
/** They take two or three milliseconds to recompute, in which nothing else of the process runs. */
const maxPageEvents = 250n;
/** An event may hold hundreds of kilobytes, and a page is written in one turn of the event loop, CSV the slowest. */
const maxPageBytes = 256 * 1024;

/** A reader whose pages grow as long as that goes well, and shrink with large events and before damaged ones. */
export function createRecordReader(database: Database, orgId: string): RecordReader {
  let pageEvents = firstPageEvents;

  return {
    // At one moment: what is removed between the questions would look like a gap.
    ends: () =>
      unlessDamaged(
        database.read(orgId, async (tx) => ({
          events: await readBounds(tx, orgId),
          start: await readStart(tx, orgId),
          lastAnchor: await lastAnchor(tx, orgId),
        })),
      ),
    head: () => unlessDamaged(database.read(orgId, (tx) => readHead(tx, orgId))),

    anchors: (after, upTo) =>
      unlessDamaged(database.read(orgId, (tx) => readAnchors(tx, orgId, after, upTo))),

    async page(after, upTo) {
      for (;;) {
        const stretch = { after, upTo: least(upTo, after + pageEvents), maxBytes: maxPageBytes };
        const wanted = stretch.upTo - after;
        const page = await unlessDamaged(database.read(orgId, (tx) => readChain(tx, orgId, stretch)));
        if (!("problem" in page)) {
          const read = BigInt(page.length);
          pageEvents = read < wanted ? read + 1n : least(maxPageEvents, 2n * pageEvents);
          return page;
        }
        if (wanted === 1n) return { seq: stretch.upTo, problem: `it ${page.problem}` };
        pageEvents = wanted / 2n;
      }
    },
  };
}

async function unlessDamaged<T>(reading: Promise<T>): Promise<T | Damage> {
  try {
    return await reading;
  } catch (error) {
    // The class of what Postgres answers when it cannot make sense of its own files.
    if (!(error instanceof DatabaseError) || !error.code.startsWith("XX")) throw error;
    return { problem: `cannot be read: Postgres finds its own data damaged (${error.code})` };
  }
}

/** The smaller of two numbers. */
export function least(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}
