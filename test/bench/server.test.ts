import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startServer } from "./server.ts";

function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}`).then(
    ({ ok }) => ok,
    () => false,
  );
}

test("a server has ended when the bench that used it has failed", async () => {
  let port = 0;
  async function bench(): Promise<void> {
    await using server = await startServer("bare-http");
    port = server.port;
    expect(await answers(port)).toBe(true);
    throw new Error("the bench failed");
  }
  await expect(bench()).rejects.toThrow("the bench failed");
  expect(await answers(port)).toBe(false);
});

test("a server ends with a bench that is killed", async () => {
  const path = fileURLToPath(new URL("./server-process.ts", import.meta.url));
  const bench = spawn(process.execPath, [path], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = once(bench, "exit");
  const [told] = await once(bench.stdout, "data");
  const port = Number(String(told));
  expect(await answers(port)).toBe(true);
  bench.kill("SIGKILL");
  await ended;
  await expect.poll(() => answers(port)).toBe(false);
});
