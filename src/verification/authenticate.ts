import type { Caller, Environment } from "#src/platform/caller.ts";
import { judge } from "./judge.ts";
import { InvalidBearer, WrongEnvironment } from "./errors.ts";
import { recordingMisuse, type MisuseEvents } from "./misuse-events.ts";
import type { KeyLookup } from "./key-lookup.ts";
import type { KeyUse } from "./key-use.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import { environmentOf } from "#src/api-keys/secret-format.ts";

/**
 * Finds the caller whose secret is presented to this service itself, or throws why it is refused. For a key that is
 * remembered, at once.
 */
export type Authenticate = (presented: PresentedSecret) => Authentication | Promise<Authentication>;

/** A caller that was let in. */
export interface Authentication {
  readonly caller: Caller;
  /** The caller by what is known of its key and by the clock now, or throws why it is no longer let in. */
  readonly recheck: () => Caller | Promise<Caller>;
}

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

  function judged(key: PresentedKey, { requestId, address }: PresentedSecret, at: Date): Caller {
    // No service principal is let in here: those are for the services that Patchbay calls.
    return recordingMisuse(misuse, key, { requestId, address }, () =>
      judge(key, { environment, callerServiceSlug: undefined, address }, at),
    );
  }

  function admit(key: PresentedKey, presented: PresentedSecret): Authentication | Promise<Authentication> {
    const at = now();
    const authentication: Authentication = {
      caller: judged(key, presented, at),
      // It is one use, unless it has to be looked up once more.
      recheck: () =>
        keys.recalls(key)
          ? judged(key, presented, now())
          : callerAfterAsking({ ...presented, beforeGuess: undefined }),
    };
    const writing = use.note(key, at);
    return writing === undefined ? authentication : writing.then(() => authentication);
  }

  async function lookUp(presented: PresentedSecret): Promise<Authentication> {
    const { secret, beforeGuess } = presented;
    const key = await keys.find(secret, { beforeGuess });
    if (key === undefined) throw unknownKey(secret, environment);
    return admit(key, presented);
  }

  async function callerAfterAsking(presented: PresentedSecret): Promise<Caller> {
    return (await lookUp(presented)).caller;
  }

  return (presented) => {
    const key = keys.recall(presented.secret);
    return key === undefined ? lookUp(presented) : admit(key, presented);
  };
}

/** Why an unknown secret is refused. */
export function unknownKey(secret: string, environment: Environment): InvalidBearer | WrongEnvironment {
  const named = environmentOf(secret);
  if (named === undefined) return new InvalidBearer("malformed");
  // A real key of the other environment is unknown here if that environment has a database of its own.
  return named === environment ? new InvalidBearer("unknown") : new WrongEnvironment(named, environment);
}
