import type { Call, Caller } from "./caller.ts";
import type { Request, Response } from "./http.ts";

/** A path that is no RPC: its handler reads the request's body and writes the answer, as they stream. */
export interface RawRoute {
  /** Stands where an RPC's name does: in the log, the metrics and the audit. */
  readonly name: string;
  /** What a caller needs. */
  readonly scope: string;
  /** What it records of each call that it serves, if it does. */
  readonly auditActions?: readonly string[];
  /** The query belongs to another service: what its parameters are called says nothing here. */
  readonly hasForeignQuery: boolean;
  /** What each answer's head has that the handler did not write itself, such as a refusal. */
  readonly headers: Readonly<Record<string, string>>;
  /** Whether it serves the path, which is still encoded. */
  matches(path: string): boolean;
  /** Answers a request that the gate let pass. What it throws is answered as REST answers it, or cuts the answer. */
  serve(exchange: RawExchange): Promise<void>;
}

/** A request behind the gate. */
export interface RawExchange {
  readonly request: Request;
  readonly response: Response;
  readonly call: Call;
  readonly caller: Caller;
  /** What the gate says in the answer's head. */
  readonly head: Readonly<Record<string, string>>;
  /** Aborts when the caller goes away before its answer is written, or else when the route is done. */
  readonly signal: AbortSignal;
  /** Whether the headers already say that no body follows. */
  readonly hasNoBody: boolean;
  /** The whole body; undefined if it is larger than this. Counted in the caller's budget. */
  readBody(maxBytes: number): Promise<Buffer | undefined>;
}
