import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
import type { Caller, Environment } from "#src/platform/caller.ts";
import type { UsageLog } from "#src/platform/usage-log.ts";
import { admit } from "./api-key.ts";
import { InvalidBearer, WrongEnvironment } from "./errors.ts";
import { environmentOf } from "./secret-format.ts";
import { findPresented } from "./store.ts";

/** Says who presents a secret, or why nobody is let in. */
export type Authenticate = (secret: string) => Promise<Caller>;

export function createAuthenticate(parts: {
  database: Database;
  pepper: Pepper;
  environment: Environment;
  /** Uses of secrets, by their hashes: that shows who still presents an old one. */
  usage: UsageLog;
  now: () => Date;
}): Authenticate {
  const { database, pepper, environment, usage, now } = parts;
  return async (secret) => {
    // Mistyped and made-up keys cost no look-up: their check digits do not fit.
    const named = environmentOf(secret);
    if (named === undefined) throw new InvalidBearer();
    const hash = pepper(secret);
    const presented = await database.system((tx) => findPresented(tx, hash));
    if (presented === undefined) {
      // A real key of the other environment is unknown here, where that has a database of its own.
      throw named === environment ? new InvalidBearer() : new WrongEnvironment(named, environment);
    }
    const at = now();
    const caller = admit(presented, environment, at);
    usage.note(caller.orgId, hash.toString("hex"), at);
    return caller;
  };
}
