import { access, constants, mkdir } from "node:fs/promises";
import { invalidSetting, type Config } from "#src/config/config.ts";
import { parseAddress } from "#src/db/address.ts";
import { openConnection } from "#src/db/connection.ts";
import { ConnectionLost } from "#src/db/errors.ts";
import { findRunningPostgres, startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import type { Log } from "#src/platform/log.ts";
import { explainConnectFailure } from "./connect-failure.ts";

/** A Postgres that answers. */
export interface Postgres extends AsyncDisposable {
  readonly url: string;
  readonly kind: "external" | "embedded" | "embedded, of the running service";
}

/**
 * The Postgres of a service: the configured one, else the embedded one, which only one service can run. `whileStarting`
 * is called once that one is on its way.
 */
export async function openPostgres(config: Config, log: Log, whileStarting?: () => void): Promise<Postgres> {
  if (config.databaseUrl !== undefined) return openExternal(config.databaseUrl.reveal().toString());
  await requireWritable(config.dataDir);
  const embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, log }, whileStarting);
  return { url: embedded.url, kind: "embedded", [Symbol.asyncDispose]: () => embedded.stop() };
}

/** The Postgres for a command: that of the running service, if there is one. */
export async function joinPostgres(config: Config, log: Log): Promise<Postgres> {
  const url = config.databaseUrl === undefined ? await findRunningPostgres(config.dataDir) : undefined;
  if (url === undefined) return openPostgres(config, log);
  return { url, kind: "embedded, of the running service", [Symbol.asyncDispose]: async () => {} };
}

const oldestPostgres = 15;

/** Checked first, because later failures could not say which setting is to blame. */
async function openExternal(url: string): Promise<Postgres> {
  const { version, isStandby } = await askServer(url).catch((error: unknown) => {
    const why = explainConnectFailure(error, parseAddress(url));
    throw invalidSetting("databaseUrl", `cannot connect: ${why}`);
  });
  if (version < oldestPostgres) {
    throw invalidSetting(
      "databaseUrl",
      `this is Postgres ${version}; give one of version ${oldestPostgres} or newer`,
    );
  }
  if (isStandby) {
    throw invalidSetting(
      "databaseUrl",
      "this Postgres is a standby, which takes no changes; give the primary",
    );
  }
  return { url, kind: "external", [Symbol.asyncDispose]: async () => {} };
}

async function askServer(url: string): Promise<{ version: number; isStandby: boolean }> {
  await using connection = openConnection(url, { application_name: "patchbay" });
  const impatient = setTimeout(() => connection.lose(new ConnectionLost("no answer", "NO_ANSWER")), 5_000);
  try {
    const [row] = await connection.run(
      "select current_setting('server_version_num')::int / 10000 as major, pg_is_in_recovery() as standby",
    );
    return { version: Number(row?.["major"]), isStandby: row?.["standby"] === true };
  } finally {
    clearTimeout(impatient);
  }
}

async function requireWritable(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await access(dataDir, constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalidSetting(
      "dataDir",
      `${dataDir} cannot be used (${code}): choose a folder that this user may write`,
    );
  }
}
