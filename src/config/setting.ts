/** A setting as people give it: by flag, else by environment, else its default. An empty one counts as not given. */
export interface Setting<Value> {
  /** Without `--`. Secrets have none: every user of the machine sees the flags of a process. */
  readonly flag?: string;
  readonly env: string;
  /** What kind of value it takes, in a word. */
  readonly value: string;
  /** The default, as people would give it; absent if there is none. */
  readonly fallback?: string;
  /** The default, if it depends on other settings. */
  readonly fallbackFor?: (others: Decisive) => string;
  readonly about: string;
  readonly secret?: true;
  /** Throws a `Problem` for a text that cannot be used. */
  readonly parse: (text: string) => Value;
}

/** The settings that the defaults of others depend on. */
export interface Decisive {
  readonly host: string;
  readonly environment: "sandbox" | "live";
  readonly trustedProxyHops: number;
  readonly workers: number;
  /** Undefined if it is not given. */
  readonly rateLimitPerMinute: number | undefined;
}

/** What is wrong with the text of a setting, and what to give instead. */
export class Problem extends Error {}

/** A setting that cannot be used; the message names its flag and variable and says what to give. */
export class InvalidSetting extends Error {
  override readonly name = "InvalidSetting";

  constructor(name: string, problem: string) {
    super(`${name}: ${problem}`);
  }
}
