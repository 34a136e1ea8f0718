import { isOwnLog, type LoggedEvent } from "./event.ts";

/**
 * The type by which patterns select the event, the narrowest of its types first; undefined if none does. `*` at the end
 * of a pattern stands for anything. What a channel received is selected by `channel:<id>/<pattern>` only, so that no
 * sender can pass its events off as those of this service.
 */
export function selectedType(
  { log, types }: Pick<LoggedEvent, "log" | "types">,
  patterns: readonly string[],
) {
  const prefix = isOwnLog(log) ? "" : channelPrefix(log);
  return types.find((type) => patterns.some((pattern) => matches(pattern, prefix + type)));
}

function matches(pattern: string, text: string): boolean {
  return pattern.endsWith("*") ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}

/** What the names begin with by which patterns select what the channel received. */
export function channelPrefix(channelId: string): string {
  return `channel:${channelId}/`;
}

/** Whether the pattern can select any name that begins so. */
export function mayBegin(pattern: string, prefix: string): boolean {
  return pattern.startsWith(prefix) || (pattern.endsWith("*") && prefix.startsWith(pattern.slice(0, -1)));
}
