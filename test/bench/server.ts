import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A server in a process of its own, which ends when it is disposed of, or this process ends, however that happens. */
export interface Server extends AsyncDisposable {
  readonly port: number;
  /** The CPU time that its process has taken so far, in microseconds. */
  cpu(): Promise<number>;
  /** The most bytes of memory that its process has held so far. */
  peakMemory(): Promise<number>;
}

/** Starts `servers/<name>.ts` with nothing else of the environment: a switch of its own there would make it another comparison. */
export async function startServer(
  name: string,
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const path = fileURLToPath(new URL(`./servers/${name}.ts`, import.meta.url));
  const child = fork(path, args, { env: environment });
  const { port } = (await answerOf(child)) as { port: number };
  return {
    port,
    async cpu() {
      child.send("cpu");
      return ((await answerOf(child)) as { cpuMicroseconds: number }).cpuMicroseconds;
    },
    async peakMemory() {
      child.send("memory");
      return ((await answerOf(child)) as { peakBytes: number }).peakBytes;
    },
    async [Symbol.asyncDispose]() {
      if (!child.connected) return;
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const ended = new AbortController();
  const exited = once(child, "exit", { signal: ended.signal }).then(([code]) => {
    throw new Error(`a server ended with code ${code}`);
  });
  const answered = once(child, "message", { signal: ended.signal });
  try {
    const [answer] = (await Promise.race([answered, exited])) as unknown[];
    return answer;
  } finally {
    exited.catch(() => {});
    answered.catch(() => {});
    ended.abort();
  }
}
