import { readConfig, type Flags } from "#src/config/config.ts";
import { openConnection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { ConnectionLost } from "#src/db/errors.ts";
import { createLog, fileDescriptor } from "../log.ts";
import { checkAudit } from "./audit.ts";
import { checkConnections } from "./connections.ts";
import { checkClock, checkPostgres, checkRole, checkSchema, checkSealing } from "./database.ts";
import { ok, tried, type Finding } from "./finding.ts";
import { checkNode, checkOutbound, checkRootKey, checkTls } from "./machine.ts";
import { checkSweep } from "./probes.ts";
import { checkRotations } from "./rotations.ts";

/** A check that looks through much gives up after this, and says so. */
const statementMs = 20_000;
/** Longer than any check takes that is answered: a database that hangs ends nothing by itself. */
const patienceMs = 60_000;

class DatabaseSilent extends ConnectionLost {
  constructor() {
    super("the database answers no more: look at Postgres, its disk, and the way to it");
  }
}

/** Checks what the service needs, one line for each, and changes nothing; returns whether it would run. */
export async function doctor(flags: Flags, silentMs = patienceMs): Promise<boolean> {
  // The findings say what is wrong.
  const log = createLog("silent", fileDescriptor(2));
  let healthy = true;
  let patience: NodeJS.Timeout | undefined;

  function show(name: string, { state, text }: Finding): void {
    healthy &&= state !== "fail";
    patience?.refresh();
    process.stdout.write(`${state.padEnd(4)}  ${name.padEnd(11)} ${text}\n`);
  }

  async function check<Found>(
    name: string,
    look: () => Finding<Found> | Promise<Finding<Found>>,
  ): Promise<Found | undefined> {
    const finding = await tried(look);
    show(name, finding);
    return finding.found;
  }

  /** The same for what there may be several of. */
  async function checkEach(name: string, look: () => Promise<readonly Finding[]>): Promise<void> {
    const { found = [], ...failed } = await tried(async () => ok("", await look()));
    if (failed.state === "fail") show(name, failed);
    for (const finding of found) show(name, finding);
  }

  await check("node", checkNode);
  const config = await check("settings", () => ok("readable", readConfig(flags)));
  if (config === undefined) return false;
  const { environment } = config;
  await check("outbound", () => checkOutbound(config));
  await check("tls", () => checkTls(config));
  const rootKey = await check("root key", () => checkRootKey(config, log));
  const postgres = await check("database", () => checkPostgres(config, log));
  if (postgres === undefined) return healthy;
  await using opened = new AsyncDisposableStack();
  const { url } = opened.use(postgres);
  const session = { application_name: "patchbay doctor", statement_timeout: statementMs };
  const owner = opened.use(openConnection(url, session));
  patience = setTimeout(() => owner.lose(new DatabaseSilent()), silentMs);
  opened.defer(() => clearTimeout(patience));
  await check("clock", () => checkClock(owner));
  const upToDate = await check("schema", () => checkSchema(url, log));
  if (upToDate !== true) return healthy;
  const database = createDatabase({ url, log });
  opened.defer(() => database.close());
  await check("role", () => checkRole(database));
  if (rootKey !== undefined)
    await check("sealing", () => checkSealing(config, { database, owner, rootKey, log }));
  await check("audit", () => checkAudit(database, owner));
  await check("probes", () => checkSweep(owner, environment));
  await checkEach("connections", () => checkConnections(owner, config));
  await checkEach("rotations", () => checkRotations(owner, environment));
  return healthy;
}
