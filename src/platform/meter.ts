/** The labels of one count. Values come from a small fixed set, never from what a client sends. */
export type Labels<Name extends string> = Readonly<Record<Name, string>>;

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
    text: MetricText & { readonly labels: readonly Name[] },
  ): (labels: Labels<Name>, by?: number) => void;
  /** A number that only goes up and is counted elsewhere, so that counting it costs what `+=` costs. */
  total(text: MetricText & { readonly read: () => number }): void;
  /** Seconds, sorted into buckets. */
  duration<Name extends string>(
    text: MetricText & { readonly labels: readonly Name[] },
  ): (labels: Labels<Name>, seconds: number) => void;
  /** A number as it is when it is read; those of the workers of one machine are added up, unless the worst one counts. */
  gauge(text: MetricText & { readonly read: () => number; readonly ofWorkers?: "sum" | "max" }): void;
}
