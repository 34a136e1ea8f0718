/** The labels of one count. Values come from a small fixed set, never from what a client sends. */
export type Labels<Name extends string> = Readonly<Record<Name, string>>;

/** The labels of a metric. */
export interface Labelled<Name extends string> {
  readonly labels: readonly Name[];
  /**
   * What is shown as 0 from the start, since an alert waits for it: Prometheus sees no increase in a count that begins
   * with 1, so that the first of its kind would tell nobody.
   */
  readonly awaited?: readonly Labels<Name>[];
}

/** What a metric is: its name as operators read it, and what it means. */
export interface MetricText {
  /** `patchbay_…`, with its unit at the end, `_total` for counts. */
  readonly name: string;
  readonly help: string;
}

/**
 * Where features declare what they count for operators, each when it is made. None of it names an organisation, a key
 * or a path: there would be no end of them.
 */
export interface Meter {
  /** A number that only goes up; 1 is added unless `by` says more. */
  counter<Name extends string>(
    text: MetricText & Labelled<Name>,
  ): (labels: Labels<Name>, by?: number) => void;
  /** A number that only goes up and is counted elsewhere, so that counting it costs what `+=` costs. */
  total(text: MetricText & { readonly read: () => number }): void;
  /** Seconds, sorted into buckets. */
  duration<Name extends string>(
    text: MetricText & Labelled<Name>,
  ): (labels: Labels<Name>, seconds: number) => void;
  /** A number as it is when it is read; those of the workers of one machine are added up, unless their highest counts. */
  gauge(text: MetricText & { readonly read: () => number; readonly ofWorkers?: "sum" | "max" }): void;
}
