/** What a schema refers to. */
export interface Needs {
  /** The names of definitions. */
  readonly names: Set<string>;
  /** Those of them that hold for the very value that the schema holds for, by name where they are referred to. */
  readonly sameValue: Map<string, string>;
  /** References that lead out of the document. */
  readonly outside: Set<string>;
  /** Whether something of it is left out, so that more values fit it than the document means. */
  isWider: boolean;
}

/** Nothing yet. */
export function noNeeds(): Needs {
  return { names: new Set(), sameValue: new Map(), outside: new Set(), isWider: false };
}
