import type { Config } from "#src/config/config.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { dueMigrations } from "#src/db/migrate.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { joinPostgres } from "./postgres.ts";
import { requireData } from "./root-key.ts";

/**
 * `patchbay admin shred`: destroys an organisation's keys. As owner, since nothing else may destroy keys in use; and
 * without the root key, which may be lost.
 */
export async function shred(config: Config, orgId: string, confirmation: string | undefined): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const owner = await openAsOwner(config, opened);
  const [org] = await owner.run("select name, shredded_at is not null as shredded from orgs where id = $1", [
    orgId,
  ]);
  if (org === undefined) throw new Error(`there is no organisation ${orgId}`);
  if (org["shredded"] === true) {
    await erase(owner);
    process.stdout.write(`${orgId}  was shredded before\n`);
    return;
  }
  if (confirmation !== orgId) {
    throw new Error(
      `this makes all that "${String(org["name"])}" has stored unreadable, for good: its credentials, tokens, channels ` +
        `and events; and its API keys are refused from then on. To do it, add --confirm ${orgId}`,
    );
  }
  await owner.run("select shred_organization($1, $2::text::json)", [
    orgId,
    JSON.stringify({ name: org["name"] }),
  ]);
  await erase(owner);
  process.stdout.write(`${orgId}  shredded\n`);
  process.stderr.write(
    "Backups from before still hold its keys, wrapped by the root key: destroy them as well. " +
      "What it stored elsewhere, such as tokens at other services, is as it was: revoke it there.\n",
  );
}

async function openAsOwner(config: Config, opened: AsyncDisposableStack): Promise<Connection> {
  await requireData(config);
  const log = createLog("warn", fileDescriptor(2));
  const { url } = opened.use(await joinPostgres(config, log));
  const due = await dueMigrations({ url, log });
  if (due.length > 0) throw new Error(`the database lacks ${due.join(", ")}: start the service once`);
  return opened.use(openConnection(url, { application_name: "patchbay" }));
}

/** A running service does the same, each minute; but there may be none. */
async function erase(owner: Connection): Promise<void> {
  for (;;) {
    const [row] = await owner.run("select erase_shredded(1000)::float8 as erased");
    if (row?.["erased"] === 0) return;
  }
}
