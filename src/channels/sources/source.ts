import type { Position } from "./position.ts";

/** A value that a request has under this name. */
export interface Parameter {
  readonly name: string;
  readonly value: string;
}

/** An event stream that is read through a connection. */
export interface StreamConfig {
  /** Behind the connection's base URL. */
  readonly path: string;
  readonly query: readonly Parameter[];
  /** After so long without a byte, it is opened anew. */
  readonly idleSeconds: number;
}

/** A list that is asked for again and again through a connection. */
export interface PollConfig {
  /** Behind the connection's base URL. `{cursor}` in a value of the query stands for the cursor. */
  readonly path: string;
  readonly query: readonly Parameter[];
  readonly intervalSeconds: number;
  /** Where the items are in a page; empty for the page itself. */
  readonly items: string;
  /** Where an item has its id. */
  readonly id: string;
  /** Where an item has its type. */
  readonly type?: string;
  /** The type of an item that has none. */
  readonly defaultType: string;
  /** Where an item has its time. */
  readonly time?: string;
  readonly order: "ascending" | "descending";
  /** Where the newest item has what the next turn goes on behind. */
  readonly cursor?: string;
  /** Cursors are moments: turns overlap, as items may come late. */
  readonly isTimeCursor: boolean;
  readonly next?: NextPage;
  /** What the first turn does with what is there already. */
  readonly start: "now" | "all";
}

/** How a page names the one behind it: in `Link: rel=next`, or in itself, as a URL or as the value of a parameter. */
export type NextPage =
  { readonly by: "link" } | { readonly by: "pointer"; readonly pointer: string; readonly parameter?: string };

interface Claimed {
  readonly orgId: string;
  readonly channelId: string;
  readonly lease: string;
  readonly connectionId: string;
  readonly baseUrl: string;
  readonly position: Position;
  /** How many times in a row it could not be read. */
  readonly failures: number;
}

/** A source that this replica reads now. */
export type ClaimedSource = Claimed &
  (
    | { readonly kind: "sse"; readonly config: StreamConfig }
    | { readonly kind: "poll"; readonly config: PollConfig }
  );

/** How reading a source ended, and what comes next. */
export interface Outcome {
  /** After so long it is read again. */
  readonly pauseMs: number;
  /** Why it could not be read. */
  readonly failed?: string;
  /** What it waits for, if that is no failure. */
  readonly waitsFor?: string;
  /** Why it is not read again until a person resumes it. */
  readonly blocked?: string;
}
