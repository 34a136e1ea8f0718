import { randomBytes } from "node:crypto";
import { createTestDatabase, type TestDatabase } from "./postgres.ts";
import { startService } from "./service.ts";

/** Two replicas of the service on one database, each with a clock of its own. */
export async function startReplicas() {
  const postgres = await createTestDatabase();
  const shared = { postgres, rootKey: randomBytes(32).toString("base64") };
  const one = await startService(shared);
  const other = await startService(shared);
  return {
    one,
    other,
    postgres,
    async [Symbol.asyncDispose]() {
      await one[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
    },
  };
}

/** Changes are announced to nobody but the process that makes them. */
export async function blockNotifications(postgres: TestDatabase): Promise<void> {
  await postgres.asOwner(`
    create or replace function announce(variadic things text[]) returns void language plpgsql as $$ begin
      perform set_config(
        'app.announced',
        concat_ws(' ', nullif(current_setting('app.announced', true), ''), array_to_string(things, ' ')),
        true);
    end $$`);
}
