import { MissingScope } from "#src/api-keys/errors.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { shownTargets } from "#src/connections/access.ts";
import type { Database, Tx } from "#src/db/database.ts";
import { LogNotFound } from "#src/eventlog/errors.ts";
import { auditLog, isOwnLog, serviceLog, type LoggedEvent } from "#src/eventlog/event.ts";
import { readScopeOf } from "#src/eventlog/own-types.ts";
import { channelPrefix, mayBegin, selectedType } from "#src/eventlog/selection.ts";
import type { Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** Whether the caller may know of the channel. */
export type IsShownChannel = (tx: Tx, caller: Caller, id: string) => Promise<boolean>;

/** What a caller wants to read. */
export interface Wanted {
  readonly logs: readonly string[];
  /** Patterns of types; all if empty. */
  readonly types: readonly string[];
}

/** What a caller may read. */
export interface ReadableLogs {
  /** Throws for a log or a type that the caller may not read, and for a type that none of the logs can have. */
  require(caller: Caller, wanted: Wanted): Promise<void>;
  /** The same for a caller that was let in before. Looks at what may have changed only: many streams ask each moment. */
  requireStill(caller: Caller, wanted: Wanted): Promise<void>;
  /** Those events that the caller may see and its patterns select, each under the type that they select it by. */
  select(
    caller: Caller,
    types: readonly string[],
    events: readonly LoggedEvent[],
  ): Promise<readonly LoggedEvent[]>;
}

export function createReadableLogs(parts: {
  database: Database;
  isShownChannel: IsShownChannel;
}): ReadableLogs {
  const { database, isShownChannel } = parts;

  async function requireShown(caller: Caller, { logs }: Wanted): Promise<void> {
    const channels = logs.filter((log) => !isOwnLog(log));
    if (channels.length === 0) return;
    await database.read(caller.orgId, async (tx) => {
      for (const id of channels) if (!(await isShownChannel(tx, caller, id))) throw new LogNotFound();
    });
  }

  /** A key that is limited to some connections learns nothing of others. */
  async function shown(caller: Caller, events: readonly LoggedEvent[]): Promise<readonly LoggedEvent[]> {
    const targets = events.flatMap(({ log, subject }) => (isOwnLog(log) && subject ? [subject] : []));
    if (caller.connections === undefined || targets.length === 0) return events;
    const known = await database.read(caller.orgId, (tx) => shownTargets(tx, caller, targets));
    return events.filter(({ log, subject }) => !isOwnLog(log) || !subject || known.has(subject));
  }

  return {
    async require(caller, wanted) {
      requireSelectable(wanted);
      requireScopes(caller, wanted);
      await requireShown(caller, wanted);
    },
    async requireStill(caller, wanted) {
      requireScopes(caller, wanted);
      if (caller.connections !== undefined) await requireShown(caller, wanted);
    },
    async select(caller, types, events) {
      const selected = events.flatMap((event) => {
        const type = types.length === 0 ? event.type : selectedType(event, types);
        if (type === undefined || !mayRead(caller, event)) return [];
        return [type === event.type ? event : { ...event, type }];
      });
      return shown(caller, selected);
    },
  };
}

/** Whoever may read the audit log may read all of it. */
function mayRead({ scopes }: Caller, { log, type }: LoggedEvent): boolean {
  return log !== serviceLog || grants(scopes, readScopeOf(type));
}

function requireScopes(caller: Caller, { logs, types }: Wanted): void {
  if (logs.includes(auditLog)) requireScope(caller, "audit:view");
  for (const type of logs.includes(serviceLog) ? types : []) requireScope(caller, readScopeOf(type));
}

function requireScope({ scopes }: Caller, scope: string): void {
  if (!grants(scopes, scope)) throw new MissingScope(scope);
}

/** A pattern that can select nothing is a mistake, which would look like a log in which nothing happens. */
function requireSelectable({ logs, types }: Wanted): void {
  const wrong = types.find((type) => !logs.some((log) => canSelect(type, log)));
  if (wrong === undefined) return;
  const channel = logs.find((log) => !isOwnLog(log));
  const next =
    channel === undefined || wrong.startsWith("channel:")
      ? "ask for the log that it is of, or leave it out"
      : `what a channel received is selected by its id and the type, such as ${channelPrefix(channel)}${wrong}`;
  throw new InvalidRequest(`types: ${JSON.stringify(wrong)} selects nothing of the logs asked for; ${next}`);
}

function canSelect(pattern: string, log: string): boolean {
  return isOwnLog(log) ? !pattern.startsWith("channel:") : mayBegin(pattern, channelPrefix(log));
}
