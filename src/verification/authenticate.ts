import type { Caller, Environment } from "#src/platform/caller.ts";
import { judge } from "./judge.ts";
import { InvalidBearer, WrongEnvironment } from "./errors.ts";
import { recordingMisuse, type MisuseEvents } from "./misuse-events.ts";
import type { KeyLookup } from "./key-lookup.ts";
import type { KeyUse } from "./key-use.ts";
import { environmentOf } from "#src/api-keys/secret-format.ts";

/** Finds the caller whose secret is presented to this service itself, or throws why it is refused. */
export type Authenticate = (presented: PresentedSecret) => Promise<Caller>;

/** A secret, and what to do before it is looked up. */
export interface PresentedSecret {
  readonly secret: string;
  /** The client's address, if it is known. */
  readonly address: string | undefined;
  readonly requestId: string;
  readonly beforeGuess?: (() => Promise<void>) | undefined;
}

export function createAuthenticate(parts: {
  keys: KeyLookup;
  misuse: MisuseEvents;
  environment: Environment;
  use: KeyUse;
  now: () => Date;
}): Authenticate {
  const { keys, misuse, environment, use, now } = parts;
  return async ({ secret, address, requestId, beforeGuess }) => {
    const key = await keys.find(secret, { beforeGuess });
    if (key === undefined) throw unknownKey(secret, environment);
    const at = now();
    // No service principal is let in here: those are for the services that Patchbay calls.
    const caller = recordingMisuse(misuse, key, { requestId, address }, () =>
      judge(key, { environment, callerServiceSlug: undefined, address }, at),
    );
    await use.note(key, at);
    return caller;
  };
}

/** Why an unknown secret is refused. */
export function unknownKey(secret: string, environment: Environment): InvalidBearer | WrongEnvironment {
  const named = environmentOf(secret);
  if (named === undefined) return new InvalidBearer("malformed");
  // A real key of the other environment is unknown here if that environment has a database of its own.
  return named === environment ? new InvalidBearer("unknown") : new WrongEnvironment(named, environment);
}
