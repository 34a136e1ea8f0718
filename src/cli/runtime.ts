import type { Config } from "#src/config/config.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { migrate } from "#src/db/migrate.ts";
import { assertServingRole } from "#src/db/assert-serving-role.ts";
import type { Log } from "#src/platform/log.ts";
import type { Tracing } from "#src/platform/tracing.ts";
import { openPostgres } from "./postgres.ts";
import { openRootKey, readRootKey } from "./root-key.ts";

/** A migrated database, and the key that opens what is sealed in it. */
export interface Runtime extends AsyncDisposable {
  readonly database: Database;
  readonly rootKey: RootKey;
  /** Opens what it wrapped, while one root key takes the place of another. */
  readonly secondRootKey?: RootKey | undefined;
  /** True if this start made the root key file. */
  readonly rootKeyCreated: boolean;
  /** The database as its owner, who sees all organisations. */
  readonly ownerUrl: string;
}

/** Brings up what the service needs: root key, database, newest schema. */
export async function openRuntime(
  config: Config,
  log: Log,
  obtain = () => openPostgres(config, log),
  tracing?: Tracing,
): Promise<Runtime> {
  await using opened = new AsyncDisposableStack();
  // The key first: without it, nothing in the database is of use.
  const { rootKey, created } = await openRootKey(config, log);
  const secondRootKey = await readRootKey(config, "secondRootKey", log);
  const { url } = opened.use(await obtain());
  await migrate({ url, log });
  const database = createDatabase({ url, log, poolSize: config.databasePoolSize, tracing });
  opened.defer(() => database.close());
  await assertServingRole(database);
  const kept = opened.move();
  return {
    database,
    rootKey,
    secondRootKey,
    rootKeyCreated: created,
    ownerUrl: url,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
