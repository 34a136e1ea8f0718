import { ConnectionNotAllowed, MissingScope } from "#src/api-keys/errors.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { isOwnLog, serviceLog } from "#src/eventlog/event.ts";
import { ownTypes } from "#src/eventlog/own-types.ts";
import { mayBegin } from "#src/eventlog/selection.ts";
import type { Caller } from "#src/platform/caller.ts";
import type { ReadableLogs } from "../readable-logs.ts";
import type { Group } from "./group.ts";

/** Refuses a group of which the caller may not see all: no event can be left out for one of those that share them. */
export type RequireWhole = (caller: Caller, group: Pick<Group, "log" | "types">) => Promise<void>;

export function createRequireWhole(readable: ReadableLogs): RequireWhole {
  return async (caller, { log, types }) => {
    await readable.require(caller, { logs: [log], types });
    if (!isOwnLog(log)) return;
    for (const scope of log === serviceLog ? serviceScopes(types) : []) {
      if (!grants(caller.scopes, scope)) throw new MissingScope(scope);
    }
    if (caller.connections !== undefined) {
      throw new ConnectionNotAllowed(
        `the key is limited to some connections, and the log ${log} is about all of them; use a key that is not, or list events, where those of others are left out`,
      );
    }
  };
}

/** Those of all that the patterns may select of the log `service`. */
function serviceScopes(types: readonly string[]): string[] {
  const patterns = types.length === 0 ? ["*"] : types;
  return [...ownTypes].flatMap(([family, { scope, logs }]) => {
    const isSelected = patterns.some((pattern) => mayBegin(pattern, `${family}.`));
    return isSelected && logs.includes(serviceLog) ? [scope] : [];
  });
}
