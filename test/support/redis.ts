import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./ports.ts";

/** A Redis or Valkey server that keeps nothing on disk. */
export interface TestRedis extends AsyncDisposable {
  readonly url: string;
  /** Stops it in its tracks: connections stay open, and nothing is answered. */
  freeze(): void;
  thaw(): void;
  kill(): Promise<void>;
  /** Starts it again at the same port, empty. */
  restart(): Promise<void>;
}

const program = ["redis-server", "valkey-server"].find((name) => spawnSync(name, ["--version"]).status === 0);

/** Why tests that need such a server cannot run; undefined if they can. */
export const missingRedis =
  program === undefined ? "no redis-server or valkey-server: apt-get install redis-server" : undefined;

/** Starts a server on a port of its own; `flags` as on its command line. */
export async function startRedis(...flags: readonly string[]): Promise<TestRedis> {
  if (program === undefined) throw new Error(missingRedis);
  const dir = await mkdtemp(join(tmpdir(), "patchbay-redis-"));
  const port = await freePort();
  const memoryOnly = ["--save", "", "--appendonly", "no", "--dir", dir];
  let server = await start();

  async function start(): Promise<ChildProcess> {
    const address = ["--bind", "127.0.0.1", "--port", String(port)];
    const child = spawn(program!, [...address, ...memoryOnly, ...flags], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    const ready = new Promise<void>((done, fail) => {
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (said.includes("Ready to accept connections")) done();
      });
      child.once("exit", () => fail(new Error(`the server did not start:\n${said}`)));
    });
    await ready;
    return child;
  }

  async function kill(): Promise<void> {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    server.kill("SIGKILL");
    await ended;
  }

  return {
    url: `redis://127.0.0.1:${port}`,
    freeze: () => void server.kill("SIGSTOP"),
    thaw: () => void server.kill("SIGCONT"),
    kill,
    async restart() {
      await kill();
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await kill();
      await rm(dir, { recursive: true });
    },
  };
}
