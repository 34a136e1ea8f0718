import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";

export const repository = join(import.meta.dirname, "../..");

/** A project outside of the repository, in which one of its packages is installed as npm would. */
export interface Project extends AsyncDisposable {
  readonly path: string;
  /** Where the package is installed. */
  readonly package: string;
  /** Its files, by their paths in it. */
  readonly files: readonly string[];
  readonly manifest: Manifest;
  /** Runs a tool of the repository in the project; answers what it printed, and fails with it. */
  run(command: string, args: readonly string[]): Promise<string>;
}

/** What its package.json says. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly private?: boolean;
  readonly engines: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/**
 * Packs a folder of the repository with npm, unpacks the tarball, and links the packages that it declares, and no
 * others: npm itself would take longer over those than all the tests together, and would need a registry.
 */
export async function installPacked(folder: "." | "clients"): Promise<Project> {
  const temporary = await mkdtemp(join(tmpdir(), "patchbay-packed-"));
  const path = join(temporary, "project");
  const manifest = await manifestIn(join(repository, folder));
  const installed = join(path, "node_modules", manifest.name);

  await copyRepository(join(temporary, "repository"));
  await run("npm", ["pack", "--pack-destination", temporary], join(temporary, "repository", folder));
  await mkdir(installed, { recursive: true });
  const tarball = join(temporary, `${manifest.name}-${manifest.version}.tgz`);
  await run("tar", ["-xzf", tarball, "--strip-components=1", "-C", installed], temporary);
  await writeFile(join(path, "package.json"), JSON.stringify({ type: "module" }));
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    await linkPackage(path, name);
  }
  const files = globSync("**/*", { cwd: installed, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1));
  return {
    path,
    package: installed,
    files,
    manifest: await manifestIn(installed),
    run: (command, args) => run(command, args, path),
    [Symbol.asyncDispose]: () => rm(temporary, { recursive: true, force: true }),
  };
}

/** What the package.json of a folder says. */
export async function manifestIn(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as Manifest;
}

/** Puts a package of the repository into a project, as if it were installed there. */
export async function linkPackage(project: string, name: string): Promise<void> {
  const link = join(project, "node_modules", name);
  await mkdir(dirname(link), { recursive: true });
  await symlink(join(repository, "node_modules", name), link);
}

/** Copies it, so that packing leaves nothing in the working tree and two runs at once do not disturb each other. */
async function copyRepository(to: string): Promise<void> {
  const left = new Set(["node_modules", ".git", "data", "dist"]);
  await cp(repository, to, {
    recursive: true,
    filter: (source) => dirname(source) !== repository || !left.has(basename(source)),
  });
  await symlink(join(repository, "node_modules"), join(to, "node_modules"));
}

async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  // The settings that an outer `npm test` leaves in the environment are those of this repository.
  const outer = Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith("npm_"));
  const PATH = `${join(repository, "node_modules/.bin")}:${process.env["PATH"]}`;
  const { stdout } = await promisify(execFile)(command, args, {
    cwd,
    env: { ...Object.fromEntries(outer), PATH },
  });
  return stdout;
}
