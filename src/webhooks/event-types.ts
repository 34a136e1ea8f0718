import { auditLog, serviceLog } from "#src/eventlog/event.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** Of which events a pattern of types speaks. */
export interface Selected {
  /** Which scope reads them. */
  readonly scope: string;
  readonly logs: readonly string[];
  /** Whether they tell of connections that the rights of a key may leave out. */
  readonly tellOfConnections: boolean;
  /** For what a channel received: the channel. */
  readonly channelId?: string;
}

/** This service's own types, by what they begin with. What changes of a key or a connection may be in both logs. */
const ownTypes: Readonly<Record<string, Selected>> = {
  audit: { scope: "audit:view", logs: [auditLog], tellOfConnections: true },
  connection: { scope: "connections:view", logs: [auditLog, serviceLog], tellOfConnections: true },
  api_key: { scope: "api:manage", logs: [auditLog, serviceLog], tellOfConnections: false },
  channel: { scope: "events:view", logs: [serviceLog], tellOfConnections: true },
  webhook: { scope: "webhooks:manage", logs: [serviceLog], tellOfConnections: false },
};

/** One family of own types, or one channel: a pattern of several would be of several scopes. */
const grammar =
  /^(?:(?<family>[a-z_]+)\.(?:[a-z0-9_.]+\*?|\*)|channel:(?<channel>chn_[0-9A-HJKMNP-TV-Z]{26})\/(?:[^*\p{Cc}]+\*?|\*))$/u;

/** What the pattern selects; undefined for one that the contract does not allow. */
export function findSelected(pattern: string): Selected | undefined {
  const { family = "", channel: channelId } = grammar.exec(pattern)?.groups ?? {};
  if (channelId !== undefined) {
    return { scope: "events:view", logs: [channelId], tellOfConnections: false, channelId };
  }
  return Object.hasOwn(ownTypes, family) ? ownTypes[family] : undefined;
}

/** Refuses patterns that the contract does not allow. */
export function requireTypes(patterns: readonly string[]): void {
  const wrong = patterns.find((pattern) => findSelected(pattern) === undefined);
  if (wrong === undefined) return;
  const families = Object.keys(ownTypes).map((name) => `${name}.*`);
  throw new InvalidRequest(
    `types: ${JSON.stringify(wrong)} selects nothing; give types such as ${families.join(", ")}, or ` +
      "channel:<id>/* for what a channel received",
  );
}

/** The logs that hold what the patterns select. */
export function logsOf(patterns: readonly string[]): readonly string[] {
  return [...new Set(patterns.flatMap((pattern) => findSelected(pattern)?.logs ?? []))].toSorted();
}
