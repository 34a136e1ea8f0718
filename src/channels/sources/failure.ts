/** A source could not be read, for a reason that is shown to whoever looks at the channel. */
export class SourceFailure extends Error {
  /** How long the source asks to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
