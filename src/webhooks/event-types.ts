import { ownTypes, type OwnTypes } from "#src/eventlog/own-types.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** Of which events a pattern of types speaks. */
export interface Selected extends OwnTypes {
  /** For what a channel received: the channel. */
  readonly channelId?: string;
}

/** One family of own types, or one channel: a pattern of several would be of several scopes. */
const grammar =
  /^(?:(?<family>[a-z_]+)\.(?:[a-z0-9_.]+\*?|\*)|channel:(?<channel>chn_[0-9A-HJKMNP-TV-Z]{26})\/(?:[^*\p{Cc}]+\*?|\*))$/u;

/** What the pattern selects; undefined for one that the contract does not allow. */
export function findSelected(pattern: string): Selected | undefined {
  const { family = "", channel: channelId } = grammar.exec(pattern)?.groups ?? {};
  if (channelId !== undefined) {
    return { scope: "events:view", logs: [channelId], tellOfConnections: false, channelId };
  }
  return ownTypes.get(family);
}

/** Refuses patterns that the contract does not allow. */
export function requireTypes(patterns: readonly string[]): void {
  const wrong = patterns.find((pattern) => findSelected(pattern) === undefined);
  if (wrong === undefined) return;
  const families = [...ownTypes.keys()].map((name) => `${name}.*`);
  throw new InvalidRequest(
    `types: ${JSON.stringify(wrong)} selects nothing; give types such as ${families.join(", ")}, or ` +
      "channel:<id>/* for what a channel received",
  );
}

/** The logs that hold what the patterns select. */
export function logsOf(patterns: readonly string[]): readonly string[] {
  return [...new Set(patterns.flatMap((pattern) => findSelected(pattern)?.logs ?? []))].toSorted();
}
