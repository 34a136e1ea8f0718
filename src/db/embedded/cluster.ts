import { spawn } from "node:child_process";
import { chown, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Installation } from "./installation.ts";
import { serverEnvironment, serverFolder } from "./server.ts";
import { requireName, type ServerUser } from "./server-user.ts";
import { isAlive } from "./owner.ts";

/** The one user of the embedded Postgres. Whoever can reach the socket is this user; its folder is private. */
export const superuser = "patchbay";

const minute = 60_000;

/** Makes the database cluster if there is none; of several processes that try, one wins. */
export async function ensureCluster(
  dataDir: string,
  cluster: string,
  installation: Installation,
  user: ServerUser,
): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await sweepUnfinished(dataDir);
  const found = await readMajor(cluster);
  if (found === undefined) return await initialize(dataDir, cluster, installation, user);
  if (found !== installation.major) {
    throw new Error(
      `${cluster} was written by Postgres ${found}, and this release brings Postgres ${installation.major}: ` +
        "with the release that wrote it, run `patchbay backup FILE`, move the folder away, and run `patchbay restore FILE` " +
        "with this one; or choose another folder with --data-dir",
    );
  }
}

async function readMajor(cluster: string): Promise<string | undefined> {
  try {
    return (await readFile(join(cluster, "PG_VERSION"), "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Works in a folder of its own and renames it, so that a cluster is either whole or not there. */
async function initialize(
  dataDir: string,
  cluster: string,
  installation: Installation,
  user: ServerUser,
): Promise<void> {
  requireName(user);
  const unfinished = join(dataDir, `${unfinishedPrefix}${process.pid}`);
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  if (user.credentials.uid !== undefined) await chown(unfinished, user.uid, user.credentials.gid ?? user.uid);
  await runInitdb(unfinished, installation, user);
  try {
    await rename(unfinished, cluster);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another process was first, and its cluster is as good as ours.
    if ((await readMajor(cluster)) === undefined) throw error;
  }
  // Without this a power cut could take the name back.
  await using parent = await open(dataDir);
  await parent.sync();
}

const unfinishedPrefix = "postgres.new-";

/** Removes what a killed initdb left. By age: its process may belong to another container. */
async function sweepUnfinished(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    const path = join(dataDir, name);
    if (!name.startsWith(unfinishedPrefix)) continue;
    const age = await stat(path).then(
      (found) => Date.now() - found.mtimeMs,
      () => 0,
    );
    if (age > 10 * minute) await rm(path, { recursive: true, force: true });
  }
}

async function runInitdb(folder: string, installation: Installation, user: ServerUser): Promise<void> {
  const child = spawn(
    installation.initdb,
    [
      ...["-D", serverFolder(folder, user), "-U", superuser, "--encoding=UTF8", "--locale=C"],
      ...["--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
      ...["--auth-local=trust", "--auth-host=reject", "--no-instructions"],
    ],
    { ...user.credentials, cwd: folder, env: serverEnvironment, stdio: ["ignore", "ignore", "pipe"] },
  );
  let complaint = "";
  child.stderr.on("data", (text: Buffer) => (complaint += text.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code !== 0)
    throw new Error(`the embedded Postgres could not make its data folder: ${complaint.trim()}`);
}

/**
 * Removes lock files that name a process which is not a server of this folder. After a crash or in a new
 * container the id may belong to any process, and Postgres would refuse to start because of it. Only for use
 * when no server answers on the socket.
 */
export async function removeStaleLocks(cluster: string, socketFolder: string): Promise<void> {
  for (const lock of [join(cluster, "postmaster.pid"), join(socketFolder, ".s.PGSQL.5432.lock")]) {
    const [line] = (await readFile(lock, "utf8").catch(() => "")).split("\n");
    const pid = Number(line);
    // Postgres itself notices that a process is gone. This is for one that lives and is not Postgres.
    if (Number.isInteger(pid) && pid > 0 && isAlive(pid) && !(await worksIn(cluster, pid))) await rm(lock);
  }
}

/** Whether the process may be a Postgres of this folder, which is where each of them works. */
async function worksIn(cluster: string, pid: number): Promise<boolean> {
  if (process.platform !== "linux") return true;
  try {
    const [folder, workplace] = await Promise.all([stat(cluster), stat(`/proc/${pid}/cwd`)]);
    return folder.dev === workplace.dev && folder.ino === workplace.ino;
  } catch {
    // Gone, or of a user whose processes we may not inspect, so it is not ours.
    return false;
  }
}
