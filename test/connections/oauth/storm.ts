import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A process that calls through one connection. */
export interface Refresher {
  /** Makes calls at once, at this time, and says the access token of each or how it failed. */
  round(callers: number, now: Date): Promise<readonly string[]>;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
  end(): Promise<void>;
}

/** Starts a process that calls through the connection. */
export async function startRefresher(what: {
  url: string;
  rootKey: string;
  orgId: string;
  id: string;
}): Promise<Refresher> {
  const script = fileURLToPath(new URL("refresher.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", script, JSON.stringify(what)],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const lines = createInterface(child.stdout);
  await nextLine(child, lines);
  return {
    async round(callers, now) {
      const answered = nextLine(child, lines);
      child.stdin.write(`${JSON.stringify({ callers, now })}\n`);
      return JSON.parse(await answered) as string[];
    },
    async kill() {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
    async end() {
      child.stdin.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

async function nextLine(child: ChildProcess, lines: Interface): Promise<string> {
  return new Promise((resolve, reject) => {
    const gone = () => reject(new Error("the process ended"));
    child.once("exit", gone);
    lines.once("line", (line) => {
      child.off("exit", gone);
      resolve(line);
    });
  });
}
