import type { Call } from "./caller.ts";
import type { Request } from "./http.ts";

/** A path that the gate does not stand before: its handler knows those who send to it by other means than a key. */
export interface OpenRoute {
  /** Stands where an RPC's name does: in the log and the metrics. */
  readonly name: string;
  /** Whether it serves the path, which is still encoded. */
  matches(path: string): boolean;
  /** The answer. What it throws is answered as REST answers it. */
  serve(exchange: OpenExchange): Promise<OpenAnswer>;
}

/** A request that nothing is known of. */
export interface OpenExchange {
  readonly request: Request;
  readonly call: Call;
  /** Aborts when the sender goes away before its answer is written. */
  readonly signal: AbortSignal;
  /** Refuses a URL with a credential of ours; where the query is `foreign`, only by how its values look. */
  refuseCredentialsInUrl(queryOwner: "ours" | "foreign"): void;
  /** The whole body, counted in the budget of the owner; undefined if it is larger than this. */
  readBody(maxBytes: number, owner: string): Promise<Buffer | undefined>;
}

/** What a sender is answered. */
export interface OpenAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer | undefined;
}
