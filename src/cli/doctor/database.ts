import type { Config } from "#src/config/config.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { requireRootKeys } from "#src/crypto/rewrap.ts";
import { wrapContext } from "#src/crypto/org-keys.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { assertServingRole } from "#src/db/assert-serving-role.ts";
import type { Connection } from "#src/db/connection.ts";
import type { Database } from "#src/db/database.ts";
import { assertCanBeMade } from "#src/db/embedded/supervisor.ts";
import { dueMigrations } from "#src/db/migrate.ts";
import type { Log } from "#src/platform/log.ts";
import { joinPostgres, type Postgres } from "../postgres.ts";
import { hasData, readRootKey } from "../root-key.ts";
import { ok, warn, type Finding } from "./finding.ts";

export async function checkPostgres(config: Config, log: Log): Promise<Finding<Postgres>> {
  if (config.databaseUrl === undefined && !(await hasData(config))) {
    await assertCanBeMade(config.dataDir);
    return ok(`none yet; the first start makes it in ${config.dataDir}`);
  }
  const postgres = await joinPostgres(config, log);
  return ok(postgres.kind, postgres);
}

const maxSkewMs = 1_000;

export async function checkClock(owner: Connection): Promise<Finding> {
  const [row] = await owner.run("select extract(epoch from clock_timestamp())::float8 * 1000 as now");
  const skewMs = Math.round(Math.abs(Date.now() - Number(row?.["now"])));
  const text = `${skewMs} ms between this machine and the database`;
  return skewMs > maxSkewMs ? warn(`${text}: run NTP on both`) : ok(text);
}

/** Finds whether the tables are as this release knows them. */
export async function checkSchema(url: string, log: Log): Promise<Finding<boolean>> {
  const due = await dueMigrations({ url, log });
  return due.length === 0 ? ok("up to date", true) : ok(`the next start applies ${due.join(", ")}`, false);
}

export async function checkRole(database: Database): Promise<Finding> {
  await assertServingRole(database);
  return ok("bound by row security");
}

/** Opens the pepper: the first thing that a start with the wrong root key fails at. */
export async function checkSealing(
  config: Config,
  parts: { database: Database; owner: Connection; rootKey: RootKey; log: Log },
): Promise<Finding> {
  const { database, owner, rootKey, log } = parts;
  const [stored] = await owner.run("select from service_keys where purpose = 'pepper'");
  if (stored === undefined) return ok("nothing is sealed yet");
  const secondRootKey = await readRootKey(config, "secondRootKey", log);
  await loadPepper(database, rootKey, () => new Date(), secondRootKey);
  await requireRootKeys({ database, rootKey, secondRootKey });
  if (secondRootKey !== undefined) await openOneOf(secondRootKey, owner);
  return ok("the root key opens what is stored");
}

/** A start does not ask it: with the second root key away, only organisations that it still wraps for are. */
async function openOneOf(rootKey: RootKey, owner: Connection): Promise<void> {
  const [row] = await owner.run(
    "select org_id, version, wrapped_key from org_keys where root_key_id = $1 and wrapped_key is not null limit 1",
    [rootKey.id],
  );
  if (row === undefined) return;
  const { org_id: orgId, version, wrapped_key: wrapped } = row;
  const key = await rootKey.unwrap(
    wrapped as Buffer,
    wrapContext({ orgId: String(orgId), version: Number(version) }),
  );
  key.fill(0);
}
