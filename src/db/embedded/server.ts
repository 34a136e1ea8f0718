import { spawn, type ChildProcess } from "node:child_process";
import type { Log } from "#src/platform/log.ts";
import type { Installation } from "./installation.ts";
import type { ServerUser } from "./server-user.ts";

/** A Postgres that ends when we do. */
export interface Server {
  /** Resolves when it has ended, with the last lines it wrote. */
  readonly ended: Promise<string>;
  /** Lets running statements be cancelled and everything be written. */
  stop(): Promise<void>;
}

/** How Postgres is started. */
export interface ServerOptions {
  readonly installation: Installation;
  readonly user: ServerUser;
  readonly cluster: string;
  readonly socketFolder: string;
  /** Names the process that it works for, see owner.ts. */
  readonly clusterName: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: Log;
}

/** Nothing of our own environment: it may hold secrets, and locale settings that initdb would obey. */
export const serverEnvironment = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/**
 * The data folder as it is passed to Postgres. Another user than ours may not be able to reach the folder by its
 * path, for example below /root; the server works in the folder, and can always reach it as its working folder.
 */
export function serverFolder(folder: string, user: ServerUser): string {
  return user.isOther && process.platform === "linux" ? "/proc/self/cwd" : folder;
}

// Its standard input is a pipe that only this process holds. However this process ends, the pipe ends too, and `read`
// returns. SIGINT is Postgres's fast shutdown.
const watchdog = `
exec 3<&0 </dev/null
"$@" 3<&- &
postgres=$!
( read -r _ <&3; kill -INT "$postgres" ) 2>/dev/null &
reader=$!
wait "$postgres"
code=$?
kill "$reader" 2>/dev/null
exit "$code"
`;

const patienceMs = 15_000;

/** Starts Postgres under its watchdog. It listens on a Unix socket only. */
export function startServer(options: ServerOptions): Server {
  const { installation, user, cluster, log } = options;
  const child = spawn(
    "/bin/sh",
    ["-c", watchdog, "patchbay-postgres", installation.postgres, ...serverArguments(options)],
    {
      ...user.credentials,
      cwd: cluster,
      env: serverEnvironment,
      // A session of its own: Ctrl-C in our terminal must not end the database before our last answers.
      detached: true,
      stdio: ["pipe", "ignore", "pipe"],
    },
  );
  // Nothing is ever written to it, but its end may come as an error.
  child.stdin.on("error", () => undefined);
  const lastLines: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().split("\n").filter(Boolean)) {
      if (line.startsWith("PANIC")) log.error({ postgres: line }, "the embedded Postgres panicked");
      else log.debug({ postgres: line }, "embedded Postgres");
      lastLines.push(line);
      if (lastLines.length > 10) lastLines.shift();
    }
  });
  const ended = new Promise<string>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    // Not "close": a Postgres that outlives its watchdog holds the pipe open.
    child.on("exit", () => setImmediate(() => resolve(lastLines.join("; "))));
  });
  return {
    ended,
    async stop() {
      child.stdin.end();
      const impatient = setTimeout(() => quit(child), patienceMs);
      await ended;
      clearTimeout(impatient);
    },
  };
}

function serverArguments({ cluster, user, socketFolder, clusterName, settings }: ServerOptions): string[] {
  const all = {
    listen_addresses: "",
    // Relative to the data folder, in which the server works, see serverFolder.
    unix_socket_directories: socketFolder === cluster ? "." : socketFolder,
    unix_socket_permissions: "0700",
    cluster_name: clusterName,
    // Statements and details of errors quote values.
    log_min_messages: "log",
    log_min_error_statement: "panic",
    log_error_verbosity: "terse",
    log_line_prefix: "",
    ...settings,
  };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", serverFolder(cluster, user), ...flags];
}

/** Ends Postgres without writing everything down; it recovers at the next start. */
function quit(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGQUIT");
  } catch {
    // Gone meanwhile.
  }
}
