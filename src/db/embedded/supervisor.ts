import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "#src/platform/log.ts";
import { openConnection } from "../connection.ts";
import { ConnectionLost } from "../errors.ts";
import { ensureCluster, removeStaleLocks, superuser } from "./cluster.ts";
import { findInstallation } from "./installation.ts";
import { currentOwner, formatOwner, isRunning, parseOwner, type Owner } from "./owner.ts";
import { startServer, type Server, type ServerOptions } from "./server.ts";
import { findServerUser, requireName } from "./server-user.ts";
import { findSocketFolder } from "./socket-folder.ts";

/** A Postgres of our own, kept running until it is stopped. */
export interface EmbeddedPostgres {
  readonly url: string;
  stop(): Promise<void>;
}

/** Where the data is. */
export interface EmbeddedOptions {
  /** Made if it is not there. The data goes to `postgres` in it. */
  readonly dataDir: string;
  readonly log: Log;
  /** Settings of the server beside ours; tests switch fsync off. */
  readonly settings?: Readonly<Record<string, string>>;
}

const startPatienceMs = 30_000;
const pauseMs = 25;

/**
 * Starts the Postgres that comes with this service, and restarts it whenever it ends. `whileStarting` is called once
 * its process is there, some time before it takes connections.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedOptions,
  whileStarting?: () => void,
): Promise<EmbeddedPostgres> {
  const { log, settings = {} } = options;
  const dataDir = resolve(options.dataDir);
  const cluster = join(dataDir, "postgres");
  const user = await findServerUser(cluster);
  const installation = await findInstallation(dataDir, user);
  await ensureCluster(dataDir, cluster, installation, user);
  const socketFolder = await findSocketFolder(cluster, user);
  const owner = currentOwner();
  const place: Place = {
    url: urlOf(socketFolder),
    owner,
    server: { installation, user, cluster, socketFolder, clusterName: formatOwner(owner), settings, log },
  };

  let server = await launch(place, whileStarting);
  let stopping = false;
  const supervision = supervise();

  async function supervise(): Promise<void> {
    for (;;) {
      const lastLines = await server.ended;
      if (stopping) return;
      log.error({ postgres: lastLines }, "the embedded Postgres ended by itself and is started again");
      server = await relaunch();
    }
  }

  async function relaunch(): Promise<Server> {
    for (;;) {
      try {
        const started = await launch(place);
        // A stop that came meanwhile could stop only the previous one.
        if (stopping) await started.stop();
        return started;
      } catch (error) {
        if (stopping) return server;
        log.error({ err: error }, "the embedded Postgres does not start");
        await sleep(1_000);
      }
    }
  }

  return {
    url: place.url,
    async stop() {
      stopping = true;
      await server.stop();
      await supervision;
    },
  };
}

/** Fails if a first start could not make the data, as far as that is known without making any. */
export async function assertCanBeMade(dataDir: string): Promise<void> {
  requireName(await findServerUser(join(resolve(dataDir), "postgres")));
}

/** Where the Postgres of a service that runs on this data folder answers; undefined if there is none. */
export async function findRunningPostgres(dataDir: string): Promise<string | undefined> {
  const cluster = join(resolve(dataDir), "postgres");
  const url = urlOf(await findSocketFolder(cluster, await findServerUser(cluster)));
  const answer = await ask(url);
  const owner = typeof answer === "string" ? undefined : parseOwner(answer.clusterName);
  return owner !== undefined && isRunning(owner) ? url : undefined;
}

function urlOf(socketFolder: string): string {
  return `postgresql:///postgres?host=${encodeURIComponent(socketFolder)}&user=${superuser}`;
}

interface Place {
  readonly url: string;
  readonly owner: Owner;
  readonly server: ServerOptions;
}

/** Starts a server once no other serves the folder, and returns it when it takes connections. */
async function launch(place: Place, whileStarting?: () => void): Promise<Server> {
  const giveUpAt = performance.now() + startPatienceMs;
  for (;;) {
    await untilNoneServes(place, giveUpAt);
    await removeStaleLocks(place.server.cluster, place.server.socketFolder);
    const server = startServer(place.server);
    whileStarting?.();
    const lastLines = await untilReady(place, server, giveUpAt);
    if (lastLines === undefined) return server;
    // Another starter took the folder between our question and our start, or the processes of a killed
    // server are still ending.
    if (!/lock file .* already exists|still in use/.test(lastLines) || performance.now() > giveUpAt) {
      throw new Error(`the embedded Postgres does not start: ${lastLines}`);
    }
    await sleep(pauseMs * 4);
  }
}

/** Refuses if a living process owns the server that answers; ends one whose owner is dead. */
async function untilNoneServes(place: Place, giveUpAt: number): Promise<void> {
  for (;;) {
    const answer = await ask(place.url);
    if (answer === "none") return;
    const owner = typeof answer === "string" ? undefined : parseOwner(answer.clusterName);
    if (owner !== undefined && isOrphaned(owner, place.owner)) await end(place.url);
    else if (typeof answer !== "string" || performance.now() > giveUpAt) {
      throw answer === "silent"
        ? new ServerSilent(place.server.cluster)
        : new DataFolderInUse(place.server.cluster, owner?.pid);
    }
    await sleep(pauseMs);
  }
}

/** One of ours, if its watchdog was killed: nothing would end it with us. Another's, if that process is gone. */
function isOrphaned(owner: Owner, ours: Owner): boolean {
  return owner.instance === ours.instance || !isRunning(owner);
}

/** Undefined once the server takes connections; its last lines if it ended before. */
async function untilReady(place: Place, server: Server, giveUpAt: number): Promise<string | undefined> {
  let lastLines: string | undefined;
  void server.ended.then((lines) => (lastLines = lines));
  for (;;) {
    const answer = await ask(place.url);
    if (typeof answer !== "string" && answer.clusterName === place.server.clusterName) return undefined;
    if (lastLines !== undefined) return lastLines;
    if (performance.now() > giveUpAt) {
      await server.stop();
      throw new Error(
        `the embedded Postgres took more than ${startPatienceMs / 1000} s to start: ${lastLines}`,
      );
    }
    await sleep(pauseMs);
  }
}

/**
 * Asks at the socket which server serves: a file that names a process can be stale, an answer cannot. "silent" is a
 * server that starts, stops or hangs.
 */
async function ask(url: string): Promise<"none" | "silent" | { readonly clusterName: string }> {
  await using connection = openConnection(url, { application_name: "patchbay supervisor" });
  const impatient = setTimeout(() => connection.lose(new ConnectionLost("no answer")), 2_000);
  try {
    const [row] = await connection.run("select current_setting('cluster_name') as name");
    return { clusterName: String(row?.["name"]) };
  } catch (error) {
    const code = error instanceof ConnectionLost ? error.code : undefined;
    return code === "ENOENT" || code === "ECONNREFUSED" ? "none" : "silent";
  } finally {
    clearTimeout(impatient);
  }
}

/** Lets the server end itself: it knows which process it is, whatever its lock file or container says. */
async function end(url: string): Promise<void> {
  await using connection = openConnection(url, { application_name: "patchbay supervisor" });
  const impatient = setTimeout(() => connection.lose(new ConnectionLost("no answer")), 2_000);
  try {
    await connection.run(`copy (select 1) to program 'read -r pid < postmaster.pid; kill -INT "$pid"'`);
  } catch {
    // It may end before it answers. Whether it did is asked next.
  } finally {
    clearTimeout(impatient);
  }
}

/** It may hang, on its disk for example; while it is there, no other can serve the folder. */
class ServerSilent extends Error {
  override readonly name = "ServerSilent";

  constructor(cluster: string) {
    super(
      `the Postgres of ${cluster} is there and does not answer: look at its disk, and at the service that runs it; ` +
        "if that does not help, end that service and start it again",
    );
  }
}

/** Another service uses the data folder. */
class DataFolderInUse extends Error {
  override readonly name = "DataFolderInUse";

  constructor(cluster: string, pid: number | undefined) {
    super(
      `${cluster} is in use${pid === undefined ? "" : ` by process ${pid}`}: ` +
        "stop that service, or choose another folder with --data-dir",
    );
  }
}
