import { X509Certificate } from "node:crypto";
import { stat } from "node:fs/promises";
import { verifyNewest } from "#src/audit/verify-newest.ts";
import { createVerifyRecord } from "#src/audit/verify-record.ts";
import { readConfig, type Config, type Flags } from "#src/config/config.ts";
import { isLoopback } from "#src/config/loopback.ts";
import { nameOf } from "#src/config/settings.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { requireRootKeys } from "#src/crypto/rewrap.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { assertCanBeMade } from "#src/db/embedded/supervisor.ts";
import { dueMigrations } from "#src/db/migrate.ts";
import { assertServingRole } from "#src/db/assert-serving-role.ts";
import type { Log } from "#src/platform/log.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { joinPostgres, type Postgres } from "./postgres.ts";
import { findRootKey, hasData, readRootKey, rootKeyFileOf } from "./root-key.ts";
import { readTls } from "./tls.ts";
import { findRecords } from "./verify-audit.ts";

/** What one check found, what to do about it, and what later checks go on with. */
interface Finding<Found = unknown> {
  readonly state: "ok" | "warn" | "fail";
  readonly text: string;
  readonly found?: Found;
}

/** Checks what the service needs, one line for each, and changes nothing; returns whether it would run. */
export async function doctor(flags: Flags): Promise<boolean> {
  // The findings say what is wrong.
  const log = createLog("silent", fileDescriptor(2));
  let healthy = true;

  async function check<Found>(
    name: string,
    look: () => Finding<Found> | Promise<Finding<Found>>,
  ): Promise<Found | undefined> {
    const finding = await tried(look);
    healthy &&= finding.state !== "fail";
    process.stdout.write(`${finding.state.padEnd(4)}  ${name.padEnd(11)} ${finding.text}\n`);
    return finding.found;
  }

  await check("node", checkNode);
  const config = await check("settings", () => ok("readable", readConfig(flags)));
  if (config === undefined) return false;
  await check("outbound", () => checkOutbound(config));
  await check("tls", () => checkTls(config));
  const rootKey = await check("root key", () => checkRootKey(config, log));
  const postgres = await check("database", () => checkPostgres(config, log));
  if (postgres === undefined) return healthy;
  await using opened = new AsyncDisposableStack();
  const { url } = opened.use(postgres);
  const owner = opened.use(openConnection(url, { application_name: "patchbay doctor" }));
  await check("clock", () => checkClock(owner));
  const upToDate = await check("schema", () => checkSchema(url, log));
  if (upToDate !== true) return healthy;
  const database = createDatabase({ url, log });
  opened.defer(() => database.close());
  await check("role", () => checkRole(database));
  if (rootKey !== undefined)
    await check("sealing", () => checkSealing(config, { database, owner, rootKey, log }));
  await check("audit", () => checkAudit(database, owner));
  return healthy;
}

async function tried<Found>(look: () => Finding<Found> | Promise<Finding<Found>>): Promise<Finding<Found>> {
  try {
    return await look();
  } catch (error) {
    return { state: "fail", text: error instanceof Error ? error.message : String(error) };
  }
}

function ok<Found>(text: string, found?: Found): Finding<Found> {
  return { state: "ok", text, ...(found !== undefined && { found }) };
}

function warn<Found>(text: string, found?: Found): Finding<Found> {
  return { ...ok(text, found), state: "warn" };
}

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const enough = major > 24 || (major === 24 && minor >= 13);
  // Before that, one HEADERS frame ends the process (CVE-2025-59465).
  if (!enough) return { state: "fail", text: `${process.version}; install Node 24.13 or newer` };
  return ok(process.version);
}

function checkOutbound({ outboundAllow }: Config): Finding {
  if (outboundAllow !== "") return ok(`public addresses, and ${outboundAllow}`);
  return ok(`public addresses only; for services in your own network, set ${nameOf("outboundAllow")}`);
}

async function checkTls(config: Config): Promise<Finding> {
  const tls = await readTls(config);
  if (tls === undefined) {
    if (isLoopback(config.host)) return ok("none; only this machine can connect");
    return warn(
      `none: keys cross the network in clear; set ${nameOf("tlsCert")} and ${nameOf("tlsKey")}, or end TLS in front`,
    );
  }
  const { validFromDate: begins, validToDate: ends } = new X509Certificate(tls.cert);
  if (begins.getTime() > Date.now()) {
    return { state: "fail", text: `${config.tlsCert}, valid from ${begins.toISOString()} only` };
  }
  const text = `${config.tlsCert}, valid until ${ends.toISOString()}`;
  const daysLeft = (ends.getTime() - Date.now()) / (24 * 60 * 60 * 1000);
  if (daysLeft < 0) return { state: "fail", text: `${text}: renew it` };
  return daysLeft < 14 ? warn(`${text}: renew it`) : ok(text);
}

async function checkRootKey(config: Config, log: Log): Promise<Finding<RootKey>> {
  const rootKey = await findRootKey(config, log);
  const file = rootKeyFileOf(config);
  if (rootKey === undefined) return ok(`none yet; the first start makes ${file}`);
  if (config.rootKey !== undefined) return ok(`from ${nameOf("rootKey")}`, rootKey);
  if (config.rootKeyUrl !== undefined) return ok(`${rootKey.id} wraps and unwraps`, rootKey);
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) return warn(`${file} can be read by other users: chmod 600 ${file}`, rootKey);
  return ok(file, rootKey);
}

async function checkPostgres(config: Config, log: Log): Promise<Finding<Postgres>> {
  if (config.databaseUrl === undefined && !(await hasData(config))) {
    await assertCanBeMade(config.dataDir);
    return ok(`none yet; the first start makes it in ${config.dataDir}`);
  }
  const postgres = await joinPostgres(config, log);
  return ok(postgres.kind, postgres);
}

const maxSkewMs = 1_000;

async function checkClock(owner: Connection): Promise<Finding> {
  const [row] = await owner.run("select extract(epoch from clock_timestamp())::float8 * 1000 as now");
  const skewMs = Math.round(Math.abs(Date.now() - Number(row?.["now"])));
  const text = `${skewMs} ms between this machine and the database`;
  return skewMs > maxSkewMs ? warn(`${text}: run NTP on both`) : ok(text);
}

/** Finds whether the tables are as this release knows them. */
async function checkSchema(url: string, log: Log): Promise<Finding<boolean>> {
  const due = await dueMigrations({ url, log });
  return due.length === 0 ? ok("up to date", true) : ok(`the next start applies ${due.join(", ")}`, false);
}

async function checkRole(database: Database): Promise<Finding> {
  await assertServingRole(database);
  return ok("bound by row security");
}

/** Opens the pepper: the first thing that a start with the wrong root key fails at. */
async function checkSealing(
  config: Config,
  parts: { database: Database; owner: Connection; rootKey: RootKey; log: Log },
): Promise<Finding> {
  const { database, owner, rootKey, log } = parts;
  const [stored] = await owner.run("select from service_keys where purpose = 'pepper'");
  if (stored === undefined) return ok("nothing is sealed yet");
  const secondRootKey = await readRootKey(config, "secondRootKey", log);
  await loadPepper(database, rootKey, () => new Date(), secondRootKey);
  await requireRootKeys({ database, rootKey, secondRootKey });
  return ok("the root key opens what is stored");
}

const newestEvents = 1_000n;
const auditMs = 5_000;

/** Looks at what is newest, for a few seconds: a record of years would take minutes. */
async function checkAudit(database: Database, owner: Connection): Promise<Finding> {
  const verifyRecord = createVerifyRecord(database);
  const end = performance.now() + auditMs;
  const mayGoOn = () => performance.now() < end;
  const orgIds = await findRecords(owner);
  let done = 0;
  for (const orgId of orgIds) {
    const verdict = await verifyNewest({ database, verifyRecord }, orgId, newestEvents, mayGoOn);
    if ("fault" in verdict) {
      const { seq, problem } = verdict.fault;
      return { state: "fail", text: `${orgId}, event ${seq}: ${problem}; see \`patchbay audit verify\`` };
    }
    if ("next" in verdict) break;
    done++;
  }
  const covered = done < orgIds.length ? `${done} of ${orgIds.length} in ${auditMs / 1000} s` : `${done}`;
  return ok(
    `the newest ${newestEvents} events of each organisation (${covered}) are as recorded; ` +
      "`patchbay audit verify` looks at all",
  );
}
