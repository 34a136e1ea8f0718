/** What a channel is told of its sender or its source. */
export interface ChannelConfig {
  /** The name of the preset that its sender follows, such as `github`. */
  readonly preset?: string;
}
