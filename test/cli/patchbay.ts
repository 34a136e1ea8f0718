import { spawn, spawnSync, type ChildProcessByStdio, type SpawnOptions } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";

/** How a process ended, and all it wrote. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The real program, running. */
export interface Patchbay extends AsyncDisposable {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  /** What it wrote to stdout so far. */
  stdout(): string;
  /** Resolves with the URL once it takes calls; fails if it ends before. */
  ready(): Promise<string>;
  kill(signal: NodeJS.Signals): Promise<Ended>;
}

/** How the program is run. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly as?: Pick<SpawnOptions, "uid" | "gid">;
  /** What runs the arguments instead of the program itself. */
  readonly command?: readonly string[];
}

const program = ["node_modules/.bin/node", "src/main.ts"];

/** Runs the program. Of our own environment it gets PATH, what was compiled already, and nothing else. */
export function patchbay(args: readonly string[], options: RunOptions = {}): Patchbay {
  const [command = "", ...first] = options.command ?? program;
  const child = spawn(command, [...first, ...args], {
    ...options.as,
    env: {
      PATH: process.env["PATH"],
      HOME: tmpdir(),
      NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
      ...options.env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stdout = collect(child, "stdout");
  const stderr = collect(child, "stderr");
  const ended = new Promise<Ended>((done, fail) => {
    child.on("error", fail);
    child.on("close", (code, signal) => done({ code, signal, stdout: stdout(), stderr: stderr() }));
  });
  const ready = new Promise<string>((done, fail) => {
    child.stdout.on("data", () => {
      const url = /^ {2}listening +(\S+)/m.exec(stdout())?.[1];
      if (url !== undefined && /"ready"|info +ready/.test(stdout())) done(url);
    });
    ended.then((end) => fail(new Error(`it ended:\n${end.stdout}\n${end.stderr}`)), fail);
  });
  // Whoever does not wait for it does not care that it never came.
  ready.catch(() => undefined);
  return {
    pid: child.pid ?? 0,
    ended,
    stdout,
    ready: () => ready,
    kill(signal) {
      child.kill(signal);
      return ended;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs the program to its end. */
export function run(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return patchbay(args, options).ended;
}

/** What gives a command a terminal: util-linux's, since that of macOS takes other flags. */
const terminal = ["script", "-qec"] as const;

/** Whether there is a program that gives a command a terminal. */
export const hasTerminal = spawnSync(terminal[0], ["-qec", "true", "/dev/null"]).status === 0;

/** Runs a shell command that finds itself on a terminal. */
export function patchbayOnTerminal(command: string, options: RunOptions = {}): Patchbay {
  return patchbay([command, "/dev/null"], { ...options, command: terminal });
}

/** A folder that is gone afterwards. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "patchbay-cli-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, removed) };
}

/** A shell command as somebody pastes it. */
export async function paste(command: string): Promise<Ended> {
  return patchbay(["-c", command], { command: ["/bin/sh"] }).ended;
}

/** The program and its arguments as one shell command. */
export function shellCommand(args: readonly string[]): string {
  return [...program.map((part) => resolve(part)), ...args].map((part) => `'${part}'`).join(" ");
}

function collect(
  child: ChildProcessByStdio<null, Readable, Readable>,
  name: "stdout" | "stderr",
): () => string {
  let text = "";
  child[name].setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  return () => text;
}

// A Postgres that has just lost its service may still be writing its last files.
const removed = { recursive: true, force: true, maxRetries: 20, retryDelay: 100 };
