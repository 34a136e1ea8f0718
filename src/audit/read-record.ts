import type { Database } from "#src/db/database.ts";
import { DatabaseError } from "#src/db/errors.ts";
import { readBounds, readChain, readHead } from "./store.ts";
import type { Fault, Head, StoredEvent } from "./verify-chain.ts";

/** Reads one organisation's record for a verification, which what Postgres cannot read any more must not fail. */
export interface RecordReader {
  bounds(): Promise<{ first: bigint; last: bigint } | undefined | Damage>;
  head(): Promise<Head | Damage>;
  /** The next events after one and up to another, at least one if there is one. */
  page(after: bigint, upTo: bigint): Promise<readonly StoredEvent[] | Fault>;
}

/** That something cannot be read, in words. */
export interface Damage {
  readonly problem: string;
}

const firstPageEvents = 100n;
/** They take two or three milliseconds to recompute, in which nothing else of the process runs. */
const maxPageEvents = 250n;
/** An event may hold hundreds of kilobytes. */
const maxPageBytes = 1024 * 1024;

/** A reader whose pages grow as long as that goes well, and shrink with large events and before damaged ones. */
export function createRecordReader(database: Database, orgId: string): RecordReader {
  let pageEvents = firstPageEvents;

  return {
    bounds: () => unlessDamaged(database.read(orgId, (tx) => readBounds(tx, orgId))),
    head: () => unlessDamaged(database.read(orgId, (tx) => readHead(tx, orgId))),

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
