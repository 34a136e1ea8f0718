import { ConnectionNotAllowed, MissingScope } from "#src/api-keys/errors.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { auditLog, serviceLog } from "#src/eventlog/event.ts";
import type { Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Group } from "./group.ts";

/** Which scope shows events whose type begins so. */
const scopesOfService = [
  ["connection.", "connections:view"],
  ["api_key.", "api:manage"],
  ["webhook.", "webhooks:manage"],
  ["channel.", "channels:view"],
] as const;

/**
 * Refuses a group of which the caller may not see all: its consumers share its events, so none can be left out for one
 * of them.
 */
export function requireWhole(caller: Caller, { log, types }: Pick<Group, "log" | "types">): void {
  if (log !== auditLog && log !== serviceLog) return;
  for (const scope of log === auditLog ? ["audit:view"] : scopesFor(types)) {
    if (!grants(caller.scopes, scope)) throw new MissingScope(scope);
  }
  if (caller.connections !== undefined) {
    throw new ConnectionNotAllowed(
      `the key is limited to some connections, and the log ${log} is about all of them; use a key that is not, or list events, where those of others are left out`,
    );
  }
}

function scopesFor(types: readonly string[]): string[] {
  const patterns = types.length === 0 ? ["*"] : types;
  return scopesOfService.flatMap(([family, scope]) =>
    patterns.some((pattern) => mayBegin(pattern, family)) ? [scope] : [],
  );
}

/** Whether the pattern selects a text that begins so. */
function mayBegin(pattern: string, family: string): boolean {
  if (!pattern.endsWith("*")) return pattern.startsWith(family);
  const stem = pattern.slice(0, -1);
  return stem.startsWith(family) || family.startsWith(stem);
}

/** Refuses a pattern that can select nothing of the log: the group would look like one whose log is silent. */
export function requireSelecting({ log, types }: Pick<Group, "log" | "types">): void {
  const isOwn = log === auditLog || log === serviceLog;
  const prefix = `channel:${log}/`;
  for (const type of types) {
    if (isOwn ? !type.startsWith("channel:") : mayBegin(type, prefix)) continue;
    throw new InvalidRequest(
      isOwn
        ? `types: ${JSON.stringify(type)} selects what a channel received, and the group's log is ${log}; leave it out`
        : `types: ${JSON.stringify(type)} selects nothing of this log; write ${prefix}${type.replace(/^channel:[^/]*\//, "")}`,
    );
  }
}
