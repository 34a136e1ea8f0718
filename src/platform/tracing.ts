/** What a span says of its work: names, numbers and ids, and never a secret or a text of a client. */
export type Facts = Readonly<Record<string, string | number | boolean | undefined>>;

/** Work that is shown in a trace. */
export interface Span {
  /** Names trace and span for whoever goes on with the trace, as the header `traceparent` of the W3C does. */
  readonly traceparent: string;
  note(facts: Facts): void;
}

/** The work that a request asks for: from its headers to the end of its answer. */
export interface RequestSpan {
  readonly traceId: string;
  /** Begins the work. All that it leads to is shown as a part of it, as long as it lasts. */
  run(work: () => void): void;
  end(name: string, facts: Facts, isFault: boolean): void;
}

/** Sends what was done for requests, and how long it took, to where operators look at it. */
export interface Tracing {
  /** Begins the trace of a request, or goes on with that of its caller. */
  serve(traceparent: string | undefined): RequestSpan;
  /** Does the work as a part of the request that it is done for. What is done for none is in no trace. */
  part<T>(
    kind: "client" | "internal",
    name: string,
    work: (span: Span | undefined) => Promise<T>,
  ): Promise<T>;
  /** How many spans ended, how many were taken by the receiver, and how many were not, since the start. */
  readonly counts: { readonly ended: number; readonly taken: number; readonly lost: number };
  /** Sends what is left, and waits a little for that. */
  close(): Promise<void>;
}
